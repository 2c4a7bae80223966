/** A real runtime for tests: own containerd, own network namespace, images of busybox, and the output of every container. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { ContainerSpec, Runtime } from '#runtime/runtime.js';
import { openContainerd } from '#runtime/containerd.js';
import { removeEmptyCgroups } from '#runtime/host-facts.js';
import { silentLog } from '#base/log.js';
import { makeBusyboxArchive } from './busybox-archive.js';
import { startContainerdProcess } from './containerd-process.js';
import type { ContainerdProcess } from './containerd-process.js';
import { CapturedStdio } from './stdio.js';

export const IMAGE = 'docker.io/library/busybox:test';

export class RealHarness {
  readonly containerd: ContainerdProcess;
  readonly runtime: Runtime;
  readonly namespace: string;
  readonly netns: string;
  /** The latest of each container id. */
  readonly #stdio = new Map<string, CapturedStdio>();
  readonly #all: CapturedStdio[] = [];
  #count = 0;

  private constructor(containerd: ContainerdProcess, runtime: Runtime, namespace: string, netns: string) {
    this.containerd = containerd;
    this.runtime = runtime;
    this.namespace = namespace;
    this.netns = netns;
  }

  static async start(): Promise<RealHarness> {
    const containerd = await startContainerdProcess();
    const unique = `${process.pid}-${randomBytes(3).toString('hex')}`;
    const namespace = `weft-test-${unique}`;
    const netns = `weftrt-${unique}`;
    execFileSync('ip', ['netns', 'add', netns]);
    try {
      const runtime = await openContainerd({
        socket: containerd.socket,
        namespace,
        stateDir: `${containerd.directory}/weft`,
        log: silentLog,
      });
      const harness = new RealHarness(containerd, runtime, namespace, netns);
      await runtime.importImage(chunked(await makeBusyboxArchive({ name: 'busybox:test', format: 'docker' })));
      return harness;
    } catch (error) {
      await containerd.destroy();
      execFileSync('ip', ['netns', 'delete', netns]);
      throw error;
    }
  }

  /** A container spec that runs in the test's network namespace and whose output is kept. */
  spec(changes: Partial<ContainerSpec> = {}): ContainerSpec & { id: string } {
    const id = changes.id ?? `task-${++this.#count}`;
    const stdio = new CapturedStdio(this.containerd.directory, `${id}-${++this.#count}`);
    this.#all.push(stdio);
    this.#stdio.set(id, stdio);
    const netnsPath = `/run/netns/${this.netns}`;
    return { id, image: IMAGE, env: {}, hostname: 'box', labels: {}, mounts: [], netnsPath, stdio: stdio.paths, ...changes };
  }

  output(id: string): CapturedStdio {
    const stdio = this.#stdio.get(id);
    if (!stdio) throw new Error(`no container ${id} was specified`);
    return stdio;
  }

  /** Creates and starts; waits for nothing. */
  async run(changes: Partial<ContainerSpec>): Promise<string> {
    const spec = this.spec(changes);
    await this.runtime.create(spec);
    await this.runtime.start(spec.id);
    return spec.id;
  }

  /** Runs a shell script to its end; returns what it printed and its exit code. The container is removed. */
  async sh(script: string, changes: Partial<ContainerSpec> = {}): Promise<{ stdout: string; stderr: string; code: number }> {
    const id = await this.run({ command: ['sh', '-c', `${script}\necho "[end $?]"`], ...changes });
    await this.output(id).waitFor('[end ');
    const { stdout, stderr } = this.output(id);
    await this.runtime.remove(id);
    return { stdout: stdout.replace(/\[end \d+\]\r?\n/, ''), stderr, code: Number(/\[end (\d+)\]/.exec(stdout)?.[1]) };
  }

  async destroy(): Promise<void> {
    for (const { id } of await this.runtime.list().catch(() => [])) await this.runtime.remove(id).catch(() => undefined);
    await this.runtime.close();
    for (const stdio of this.#all) stdio.close();
    await this.containerd.destroy();
    execFileSync('ip', ['netns', 'delete', this.netns]);
    await removeEmptyCgroups(this.namespace);
  }
}

/** Bytes as they come from a network: in pieces. */
export async function* chunked(bytes: Buffer, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}
