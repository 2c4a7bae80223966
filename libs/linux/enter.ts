/** How a command gets into a namespace. */
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { namespacePath } from '#overlay/names.js';
import type { FlowWord, Sessions } from './sessions.js';
import type { Run, RunOptions, RunResult } from './runner.js';
import { run } from './runner.js';
import type { Standby } from './standby.js';

/** Runs commands in the node's namespace, or in a task's. */
export interface Entry {
  /** `ip` in namespace `ns` ('' for the node's own). */
  ip(ns: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Any other command. */
  exec(ns: string, argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** As `Sessions`, with the nft that is kept in the namespace; left out where none are. */
  session?: {
    tell(ns: string, line: string): Promise<boolean>;
    flowsOf(ns: string, words: readonly FlowWord[]): Promise<FlowWord[]>;
    end(ns: string): Promise<void>;
  };
  /** As `Standby`, for `ip` with these arguments; left out where nobody has any. */
  standby?: {
    prepare(ns: string, args: readonly string[]): void;
    drop(ns: string, args: readonly string[]): Promise<void>;
  };
}

/** @param node name of the node's namespace below /run/netns; the process's own if left out */
export function entry(node?: string, runner: Run = run, sessions?: Sessions, standby?: Standby): Entry {
  const prefix = node === undefined ? [] : ['nsenter', `--net=${namespacePath(node)}`, '--'];
  const into = (ns: string, argv: readonly string[]) =>
    ns === NODE_NAMESPACE ? [...prefix, ...argv] : ['nsenter', `--net=${namespacePath(ns)}`, '--', ...argv];
  const nft = (ns: string) => into(ns, ['nft', '-i']);
  const ip = (ns: string, args: readonly string[]) => [...prefix, 'ip', ...(ns === NODE_NAMESPACE ? [] : ['-n', ns]), ...args];
  return {
    ip: (ns, args, options) => runner(ip(ns, args), options),
    exec: (ns, argv, options) => runner(into(ns, argv), options),
    ...(sessions
      ? {
          session: {
            tell: (ns, line) => sessions.tell(nft(ns), line),
            flowsOf: (ns, words) => sessions.flowsOf(nft(ns), words),
            end: (ns) => sessions.end(nft(ns)),
          },
        }
      : {}),
    ...(standby
      ? {
          standby: {
            prepare: (ns, args) => standby.prepare(ip(ns, args)),
            drop: (ns, args) => standby.drop(ip(ns, args)),
          },
        }
      : {}),
  };
}
