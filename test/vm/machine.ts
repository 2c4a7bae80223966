/**
 * A virtual machine under qemu: a stock Debian with a kernel of its own (image.sh), the project mounted at /opt/weft, two LANs with
 * the other machines of the same test run, and a serial port over which it is told what to run. It changes nothing outside of
 * itself: its disks are thrown away when it ends, and its LANs are multicast on this host's loopback.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

export interface MachineOptions {
  /** Directory of this test run: sockets and consoles. */
  dir: string;
  /** Directory of vmlinuz, initrd.img and root.ext4. */
  image: string;
  /** File system of the project. */
  project: string;
  /** `tcg`: emulated, runs everywhere; `kvm`: by the processor. */
  accel: string;
  /** UDP port of the machines' first LAN (eth0) on loopback; that of the second (eth1) is the next. */
  lanPort: number;
  memoryMiB: number;
}

/** An emulated machine on a busy host may take many minutes. */
const BOOT_MS = 900_000;
const SOCKET_MS = 20_000;
const COMMAND_MS = 120_000;
/** Of the address block for local use (RFC 2365); it never leaves the loopback device. */
const LAN_GROUP = '239.255.76.1';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Machine {
  readonly #waiting = new Map<number, (said: Said) => void>();
  #next = 1;
  #process: ChildProcess | undefined;
  #line: Socket | undefined;

  /** @param number 1 … 9: the machine is node<number> at 10.77.0.<number> on eth0 and 10.78.0.<number> on eth1 */
  constructor(
    readonly number: number,
    readonly options: MachineOptions,
  ) {}

  get name(): string {
    return `node${this.number}`;
  }
  get address(): string {
    return `10.77.0.${this.number}`;
  }
  get console(): string {
    return join(this.options.dir, `${this.name}.console`);
  }

  /** Boots it; resolves when it takes commands. */
  async start(): Promise<void> {
    const socket = join(this.options.dir, `${this.name}.sock`);
    // A session of its own: the kernel shares processors out by session. It goes with whoever started it, however that ends.
    const argv = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...this.#arguments(socket)];
    this.#process = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
    const ended = once(this.#process, 'exit').then(() => Promise.reject(new Error(`${this.name} ended\n${this.#lastWords()}`)));
    const late = new AbortController();
    const deadline = pauseUntil(BOOT_MS, late.signal).then(() =>
      Promise.reject(new Error(`${this.name} did not boot\n${this.#lastWords()}`)),
    );
    try {
      await Promise.race([ended, deadline, this.#connect(socket)]);
    } finally {
      late.abort();
      ended.catch(() => undefined);
    }
    await this.#setUp();
  }

  /** Runs a command and does not judge. */
  async try(argv: readonly string[], { input = '', env = {}, timeoutMs = COMMAND_MS } = {}): Promise<Said> {
    const id = this.#next++;
    const said = new Promise<Said>((resolve) => this.#waiting.set(id, resolve));
    this.#line?.write(
      `${JSON.stringify({ id, argv: ['timeout', '-k', '5', String(Math.ceil(timeoutMs / 1000)), ...argv], input, env })}\n`,
    );
    return said;
  }

  /** Runs a command; throws with everything it said unless it exits with 0. */
  async run(argv: readonly string[], options: { input?: string; env?: Record<string, string>; timeoutMs?: number } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.try(argv, options);
    if (code !== 0) throw new Error(`${this.name}: ${argv.join(' ')} exited with ${code}\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** Pulls the plug. */
  async stop(): Promise<void> {
    this.#line?.destroy();
    const { exitCode, signalCode } = this.#process ?? { exitCode: 0, signalCode: null };
    if (!this.#process || exitCode !== null || signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }

  #arguments(socket: string): string[] {
    const { image, project, accel, lanPort, memoryMiB } = this.options;
    const identity = [`systemd.hostname=${this.name}`, `systemd.machine_id=${String(this.number).repeat(32)}`];
    const kernel = ['root=/dev/vda', 'rw', 'console=ttyS0', 'net.ifnames=0', 'quiet', 'no_timer_check', ...identity];
    return [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'pc,usb=off'],
      ...(accel === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg', '-cpu', 'Nehalem,-spec-ctrl']),
      // One processor: where several are emulated on a busy host, each waits for another that is not being run.
      ...['-smp', '1', '-m', String(memoryMiB)],
      ...['-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initrd.img'), '-append', kernel.join(' ')],
      ...['-drive', `file=${join(image, 'root.ext4')},format=raw,if=none,id=root,snapshot=on,cache=unsafe`],
      ...['-device', 'virtio-blk-pci,drive=root'],
      ...['-drive', `file=${project},format=raw,if=none,id=project,readonly=on`],
      ...['-device', 'virtio-blk-pci,drive=project'],
      ...[0, 1].flatMap((lan) => [
        ...['-netdev', `socket,id=lan${lan},mcast=${LAN_GROUP}:${lanPort + lan},localaddr=127.0.0.1`],
        ...['-device', `virtio-net-pci,romfile=,netdev=lan${lan},mac=02:76:6d:00:0${lan}:0${this.number}`],
      ]),
      ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
      ...['-serial', `file:${this.console}`],
      ...['-chardev', `socket,id=line,path=${socket},server=on,wait=on`],
      ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=line,name=weft'],
    ];
  }

  async #connect(path: string): Promise<void> {
    const line = await connected(path);
    this.#line = line;
    // The guest speaks first.
    const ready = new Promise<Said>((resolve) => this.#waiting.set(0, resolve));
    line.on('error', () => undefined);
    createInterface({ input: line }).on('line', (text) => {
      const { id, ...said } = JSON.parse(text) as Said & { id: number };
      this.#waiting.get(id)?.(said);
      this.#waiting.delete(id);
    });
    line.once('close', () => {
      for (const answer of this.#waiting.values()) answer({ code: 137, stdout: '', stderr: `${this.name} is gone\n${this.#lastWords()}` });
      this.#waiting.clear();
    });
    await ready;
  }

  async #setUp(): Promise<void> {
    const addresses = [`addr add ${this.address}/24 dev eth0`, `addr add 10.78.0.${this.number}/24 dev eth1`];
    const lines = [...addresses, 'link set lo up', 'link set eth0 up', 'link set eth1 up', 'route add default via 10.77.0.254'];
    await this.run(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  #lastWords(): string {
    try {
      return readFileSync(this.console, 'utf8').split('\n').slice(-25).join('\n');
    } catch {
      return '';
    }
  }
}

/** qemu makes its socket a moment after it starts, and waits there. */
async function connected(path: string): Promise<Socket> {
  const deadline = Date.now() + SOCKET_MS;
  for (;;) {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      socket.destroy();
      if (Date.now() > deadline) throw error;
      await pause(100);
    }
  }
}

function pauseUntil(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => clearTimeout(timer));
  });
}
