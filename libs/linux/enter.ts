/** How a command gets into a namespace. */
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { namespacePath } from '#overlay/names.js';
import type { Run, RunOptions, RunResult } from './runner.js';
import { run } from './runner.js';

/** Runs commands in the node's namespace, or in a task's. */
export interface Entry {
  /** `ip` in namespace `ns` ('' for the node's own). */
  ip(ns: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Any other command. */
  exec(ns: string, argv: readonly string[], options?: RunOptions): Promise<RunResult>;
}

/** @param node name of the node's namespace below /run/netns; the process's own if left out */
export function entry(node?: string, runner: Run = run): Entry {
  const prefix = node === undefined ? [] : ['nsenter', `--net=${namespacePath(node)}`, '--'];
  return {
    ip: (ns, args, options) => runner([...prefix, 'ip', ...(ns === NODE_NAMESPACE ? [] : ['-n', ns]), ...args], options),
    exec: (ns, argv, options) =>
      runner(ns === NODE_NAMESPACE ? [...prefix, ...argv] : ['nsenter', `--net=${namespacePath(ns)}`, '--', ...argv], options),
  };
}
