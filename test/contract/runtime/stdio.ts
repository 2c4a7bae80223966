/** What the log keeper does, in small: FIFOs for a container's output, read as pipes from before the container is made. */
import { execFileSync } from 'node:child_process';
import { constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { until } from './containerd-process.js';

export class CapturedStdio {
  readonly paths: { stdout: string; stderr: string };
  /** Of a FIFO that nobody has opened. */
  readonly stdin: string;
  readonly #directory: string;
  readonly #sockets: Socket[] = [];
  readonly #text = { stdout: '', stderr: '' };

  constructor(parent: string, id: string) {
    this.#directory = join(parent, `stdio-${id}`);
    mkdirSync(this.#directory, { recursive: true });
    this.paths = { stdout: join(this.#directory, 'stdout'), stderr: join(this.#directory, 'stderr') };
    this.stdin = join(this.#directory, 'stdin');
    execFileSync('mkfifo', [this.paths.stdout, this.paths.stderr, this.stdin]);
    for (const name of ['stdout', 'stderr'] as const) {
      const socket = new Socket({
        fd: openSync(this.paths[name], constants.O_RDWR | constants.O_NONBLOCK),
        readable: true,
        writable: false,
      });
      socket.on('data', (chunk: Buffer) => (this.#text[name] += chunk.toString()));
      this.#sockets.push(socket);
    }
  }

  get stdout(): string {
    return this.#text.stdout;
  }

  get stderr(): string {
    return this.#text.stderr;
  }

  waitFor(text: string, timeoutMs?: number): Promise<void> {
    return until(() => this.stdout.includes(text), `output ${JSON.stringify(text)}; so far ${JSON.stringify(this.stdout)}`, timeoutMs);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
