/** The small program that is process 1 of a container with `init: true`: it has to be on the node. */
import { open } from 'node:fs/promises';
import { WeftError } from '#base/errors.js';

/** Where Docker, Podman and Debian have theirs. All of them take `-- PROGRAM ARGUMENTS…`. */
const CANDIDATES = [
  '/usr/bin/docker-init',
  '/usr/libexec/docker/docker-init',
  '/usr/local/bin/docker-init',
  '/usr/bin/tini-static',
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
  '/usr/libexec/catatonit/catatonit',
];
const HEADER_BYTES = 4096;

/** Path of an init that runs in any image. @throws NOT_FOUND */
export async function findInitProgram(candidates: readonly string[] = CANDIDATES): Promise<string> {
  for (const path of candidates) if (isStaticProgram(await headerOf(path))) return path;
  throw new WeftError('NOT_FOUND', {
    what: 'this node has no init program for a service with `init: true`',
    why: `looked for ${candidates.join(', ')}`,
    hint: 'Install the package tini (or catatonit) on the node.',
  });
}

async function headerOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return Buffer.alloc(0);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Of ELF-64 (System V ABI): e_phoff, e_phentsize, e_phnum, and the segment type of "needs an interpreter". */
const ELF = { magic: 0x7f454c46, phoff: 0x20, phentsize: 0x36, phnum: 0x38, PT_INTERP: 3 };

/** A program without a dynamic linker: an image need not have the right one. @param header the first bytes of the file */
export function isStaticProgram(header: Buffer): boolean {
  if (header.length < 64 || header.readUInt32BE(0) !== ELF.magic) return false;
  const at = Number(header.readBigUInt64LE(ELF.phoff));
  const size = header.readUInt16LE(ELF.phentsize);
  for (let i = 0; i < header.readUInt16LE(ELF.phnum); i++) {
    const segment = at + i * size;
    if (segment + 4 > header.length || header.readUInt32LE(segment) === ELF.PT_INTERP) return false;
  }
  return true;
}
