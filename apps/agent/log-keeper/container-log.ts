/** One container's log while it is open: two pipes, split into lines, going into one file. */
import { rm } from 'node:fs/promises';
import type { Log } from '#base/log.js';
import { messageOf } from '#base/errors.js';
import type { LogSource, OpenLog, TapChunk } from '#logs/keeper-protocol.js';
import { LineSplitter } from '#logs/line-splitter.js';
import { LogWriter, type LogLimits } from '#logs/log-writer.js';
import { openFifo, type Fifo } from './fifo.js';

/** The time of now as text; chunks of one millisecond share it. */
const stampNow = (() => {
  let at = 0;
  let text = '';
  return (): string => {
    const now = Date.now();
    if (now !== at) text = new Date((at = now)).toISOString();
    return text;
  };
})();

const NOTHING_KEPT = 'nothing that this container prints is kept: its service has the logging driver none';

/** Who looks on while a container prints. */
export interface Tap {
  /** The data are good for the moment of the call only. */
  send(chunk: TapChunk): void;
  /** It has not taken what it was sent. */
  isFull(): boolean;
  /** Calls `listener` whenever it has. */
  onRoom(listener: () => void): void;
}

export const fifosOf = ({ stdin, stdout, stderr }: LogSource): string[] => [stdin, stdout, stderr].filter((path) => path !== undefined);

export class ContainerLog {
  readonly source: LogSource;
  readonly #writer: LogWriter;
  readonly #log: Log;
  readonly #streams: { splitter: LineSplitter; fifo: Fifo }[] = [];
  readonly #taps = new Set<Tap>();
  #readBytes = 0;
  #isBehind = false;

  constructor(source: LogSource, log: Log) {
    this.source = { ...source };
    this.#log = log;
    this.#writer = new LogWriter({
      file: source.file,
      maxBytes: source.maxBytes,
      maxFiles: source.maxFiles,
      onPressure: (behind) => {
        this.#isBehind = behind;
        this.#pace();
      },
      onError: (error) =>
        this.#log.error({ container: source.container, file: source.file, error: messageOf(error) }, 'a log could not be written'),
    });
  }

  /** Opens file and FIFOs (which must exist) and reads from now on. `remark` becomes the first line. @throws NOT_FOUND, or the file system's error */
  async start(remark?: string): Promise<void> {
    try {
      // After a restart a disk that is full must not keep the container waiting: the writer tries again by itself.
      await this.#writer.open().catch((error: unknown) => {
        if (remark === undefined) throw error;
      });
      await this.#attach('stdout', this.source.stdout);
      if (this.source.stderr !== undefined) await this.#attach('stderr', this.source.stderr);
    } catch (error) {
      this.#streams.forEach(({ fifo }) => fifo.close());
      await this.#writer.close();
      throw error;
    }
    if (remark !== undefined) this.#writer.remark(remark);
    else if (this.source.discard) this.#writer.remark(NOTHING_KEPT);
    this.#streams.forEach(({ fifo }) => fifo.resume());
  }

  setLimits(limits: LogLimits): void {
    this.source.maxBytes = limits.maxBytes;
    this.source.maxFiles = limits.maxFiles;
    this.#writer.setLimits(limits);
  }

  get state(): OpenLog {
    return { ...this.source, readBytes: this.#readBytes, lostBytes: this.#writer.lostBytes };
  }

  /** Somebody wants to see what comes from now on, as it comes. Where it is not taken, the container waits. Returns its end. */
  tap(tap: Tap): () => void {
    this.#taps.add(tap);
    tap.onRoom(() => this.#pace());
    return () => {
      this.#taps.delete(tap);
      this.#pace();
    };
  }

  /** Reads no faster than the file is written and those who look on take it. */
  #pace(): void {
    const waits = this.#isBehind || [...this.#taps].some((tap) => tap.isFull());
    for (const { fifo } of this.#streams) {
      if (waits) fifo.pause();
      else fifo.resume();
    }
  }

  /** Takes what is in the pipes and resolves when it is in the file, beginnings of lines included. */
  async flush(last = false): Promise<void> {
    for (const { splitter, fifo } of this.#streams) {
      fifo.drain();
      splitter.cut(stampNow(), this.#writer.sink, last);
    }
    this.#writer.commit();
    await this.#writer.flush();
  }

  /** Writes what is left and lets go of everything. `last`: the container is gone, so a line without an end is a line. */
  async stop(last: boolean): Promise<void> {
    await this.flush(last);
    this.#streams.forEach(({ fifo }) => fifo.close());
    await this.#writer.close();
  }

  /** Removes the FIFOs, and the log files too if asked. Stop first. */
  async remove(files: boolean): Promise<void> {
    for (const path of fifosOf(this.source)) await rm(path, { force: true });
    if (files) await this.#writer.remove();
  }

  async #attach(stream: 'stdout' | 'stderr', path: string): Promise<void> {
    const splitter = new LineSplitter(stream);
    const onData = (chunk: Buffer): void => {
      this.#readBytes += chunk.length;
      for (const tap of this.#taps) tap.send({ stream, data: chunk });
      if ([...this.#taps].some((tap) => tap.isFull())) this.#pace();
      if (this.source.discard) return;
      splitter.feed(chunk, stampNow(), this.#writer.sink);
      this.#writer.commit();
    };
    const fifo = await openFifo(path, onData, (error) => this.#log.error({ path, error: messageOf(error) }, 'a FIFO could not be read'));
    this.#streams.push({ splitter, fifo });
  }
}
