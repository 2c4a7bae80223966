/** A directory that never reaches a disk: for root alone, and on a tmpfs, which is mounted where there is none. */
import { chmod, mkdir, statfs } from 'node:fs/promises';
import type { Run } from '#linux/runner.js';

/** statfs(2): TMPFS_MAGIC and RAMFS_MAGIC. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
const SIZE = '64m';

/** Only what is needed makes a mount: a node without secrets has none. Idempotent. @throws COMMAND_FAILED */
export async function ensureMemoryDir(path: string, run: Run): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { type } = await statfs(path);
  if (!IN_MEMORY.has(type)) {
    const options = `size=${SIZE},mode=700,nosuid,nodev,noexec`;
    // Without `noswap` on kernels before 6.4, which do not know it.
    const tried = await run(['mount', '-t', 'tmpfs', '-o', `${options},noswap`, 'weft-secrets', path], { accept: [32] });
    if (tried.exitCode !== 0) await run(['mount', '-t', 'tmpfs', '-o', options, 'weft-secrets', path]);
  }
  await chmod(path, 0o700);
}
