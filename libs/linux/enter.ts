/** How a command gets into a namespace. */
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { isSpareNamespace, namespacePath } from '#overlay/names.js';
import type { FlowWord, Sessions } from './sessions.js';
import type { Run, RunOptions, RunResult } from './runner.js';
import { run } from './runner.js';
import type { Standby } from './standby.js';

/** Runs commands in the node's namespace, or in a task's. */
export interface Entry {
  /** Until told otherwise, what is for namespace `ns` goes to the spare `from`, which is to get that name. */
  redirect(ns: string, from: string | undefined): void;
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
  const spares = new Map<string, string>();
  const at = (ns: string) => spares.get(ns) ?? ns;
  const into = (ns: string, argv: readonly string[]) =>
    ns === NODE_NAMESPACE ? [...prefix, ...argv] : ['nsenter', `--net=${namespacePath(at(ns))}`, '--', ...argv];
  const nft = (ns: string) => into(ns, ['nft', '-i']);
  // `ip -n` is in a mount namespace of its own, where nothing gets a name for others.
  const ip = (ns: string, args: readonly string[]) =>
    isSpareNamespace(at(ns)) ? into(ns, ['ip', ...args]) : [...prefix, 'ip', ...(ns === NODE_NAMESPACE ? [] : ['-n', ns]), ...args];
  return {
    redirect: (ns, from) => void (from === undefined ? spares.delete(ns) : spares.set(ns, from)),
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
