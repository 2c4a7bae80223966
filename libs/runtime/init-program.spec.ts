import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findInitProgram, isStaticProgram } from './init-program.js';

/** The beginning of an ELF-64 file with segments of these types. */
function elf(...types: number[]): Buffer {
  const header = Buffer.alloc(64 + types.length * 56);
  header.write('\x7fELF', 'latin1');
  header.writeBigUInt64LE(64n, 0x20);
  header.writeUInt16LE(56, 0x36);
  header.writeUInt16LE(types.length, 0x38);
  types.forEach((type, i) => header.writeUInt32LE(type, 64 + i * 56));
  return header;
}
const [LOAD, INTERP] = [1, 3];

test.each([
  ['a static program', elf(LOAD, LOAD), true],
  ['one that needs a dynamic linker', elf(LOAD, INTERP), false],
  ['one whose segments are not in its first bytes', elf(LOAD, LOAD).subarray(0, 70), false],
  ['a script', Buffer.from(`#!/bin/sh\n${' '.repeat(100)}`), false],
  ['nothing', Buffer.alloc(0), false],
])('%s', (_what, header, expected) => {
  expect(isStaticProgram(header)).toBe(expected);
});

test('the first static one is taken; none is an error that names the places', async () => {
  const directory = await mkdtemp(join(tmpdir(), `weft-init-${process.pid}-`));
  const paths = ['dynamic', 'static', 'missing'].map((name) => join(directory, name)) as [string, string, string];
  await writeFile(paths[0], elf(LOAD, INTERP));
  await writeFile(paths[1], elf(LOAD));
  expect(await findInitProgram(paths)).toBe(paths[1]);
  await expect(findInitProgram([paths[0], paths[2]])).rejects.toMatchObject({ code: 'NOT_FOUND', why: expect.stringContaining(paths[2]) });
  await rm(directory, { recursive: true });
});
