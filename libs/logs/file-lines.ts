/** Lines of a part of a file, forwards or backwards, in blocks: memory does not grow with the file. */
import type { FileHandle } from 'node:fs/promises';

const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** Lines of [from, end) without their newlines, a block's worth at a time. A last line without a newline counts. */
export async function* linesForward(handle: FileHandle, from: number, end: number): AsyncGenerator<Buffer[]> {
  let rest = Buffer.alloc(0);
  for (let at = from; at < end;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(BLOCK_BYTES, end - at)), 0, undefined, at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const block = rest.length > 0 ? Buffer.concat([rest, buffer.subarray(0, bytesRead)]) : buffer.subarray(0, bytesRead);
    const lines: Buffer[] = [];
    let start = 0;
    for (let newline = block.indexOf(NEWLINE); newline >= 0; newline = block.indexOf(NEWLINE, start)) {
      lines.push(block.subarray(start, newline));
      start = newline + 1;
    }
    rest = block.subarray(start);
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [rest];
}

/**
 * The whole lines of [0, end), last first, each with the offset after its newline. Text after the last newline is no line.
 */
export async function* linesBackward(handle: FileHandle, end: number): AsyncGenerator<{ line: Buffer; end: number }> {
  let block = Buffer.alloc(0);
  let start = end;
  let lineEnd: number | undefined;
  while (start > 0) {
    const size = Math.min(BLOCK_BYTES, start);
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(size), 0, size, start - size);
    if (bytesRead < size) return;
    start -= size;
    block = block.length > 0 ? Buffer.concat([buffer, block]) : buffer;
    // Search only what was read now: the rest was searched before.
    for (let newline = block.lastIndexOf(NEWLINE, size - 1); newline >= 0;) {
      if (lineEnd !== undefined) yield { line: block.subarray(newline + 1, lineEnd - 1 - start), end: lineEnd };
      lineEnd = start + newline + 1;
      block = block.subarray(0, newline + 1);
      newline = newline > 0 ? block.lastIndexOf(NEWLINE, newline - 1) : -1;
    }
  }
  if (lineEnd !== undefined) yield { line: block.subarray(0, lineEnd - 1), end: lineEnd };
}
