/**
 * FIFOs between the shim and us. They are read as pipes by the event loop, never through `fs` streams, which would each hold a thread
 * of libuv's pool. To see the end of the data exactly, we hold a write end of our own until the writer is known to be gone.
 */
import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import { promisify } from 'node:util';

const run = promisify(execFile);

export async function makeFifos(paths: readonly string[]): Promise<void> {
  if (paths.length > 0) await run('mkfifo', ['-m', '600', '--', ...paths], { timeout: 10_000 });
}

export interface FifoReader {
  stream: PassThrough;
  /** From now on read all there is, however slow the consumer. */
  drain(): void;
  /** No writer is left: the stream ends after what is still in the pipe. */
  finish(): void;
  destroy(): void;
}

export function readFifo(path: string): FifoReader {
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let writeEnd: number | undefined = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  const socket = new Socket({ fd: readEnd, readable: true, writable: false });
  const stream = new PassThrough();
  let draining = false;
  socket.on('data', (chunk: Buffer) => {
    if (!stream.write(chunk) && !draining) socket.pause();
  });
  stream.on('drain', () => socket.resume());
  socket.on('end', () => stream.end());
  socket.on('error', (error) => stream.destroy(error));
  const finish = () => {
    if (writeEnd !== undefined) closeSync(writeEnd);
    writeEnd = undefined;
  };
  // A consumer that goes away must not stop the process: what it writes is dropped.
  stream.on('close', () => {
    socket.removeAllListeners('data');
    socket.resume();
  });
  return {
    stream,
    finish,
    drain: () => {
      draining = true;
      socket.resume();
    },
    destroy: () => {
      finish();
      socket.destroy();
      stream.destroy();
    },
  };
}

/** A sink into a FIFO; `onEnd` is called once everything is in the pipe and our end is closed. */
export function writeFifo(path: string, onEnd: () => Promise<void>): Writable {
  // O_RDWR does not wait for a reader, and keeps the pipe's content until the shim has opened it.
  const socket = new Socket({ fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK), readable: false, writable: true });
  socket.on('error', () => undefined);
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, (error) => done(error ?? null)),
    // A FIFO has no half-close: the socket goes as a whole.
    final: (done) => {
      socket.once('close', () => onEnd().then(() => done(), done));
      socket.destroy();
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
}
