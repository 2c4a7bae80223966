/** What runc and the shim say when a process cannot be made, cut down to the part that a person can use. */
import { WeftError, messageOf, type ErrorCode } from '#base/errors.js';

/** Layers of callers that each put their name before the reason. */
const PREFIXES = [
  /^.*?OCI runtime (?:create|start|exec) failed: /s,
  /^runc (?:create|run|start|exec) failed: /,
  /^unable to start container process: /,
  /^container_linux\.go:\d+: [^:]*: /,
];

/** Errors of ours pass unchanged but for RUNTIME, which gets the subject `what`. */
export function runtimeFailure(what: string, thrown: unknown): WeftError {
  if (thrown instanceof WeftError && thrown.code !== 'RUNTIME') return thrown;
  const why = thrown instanceof WeftError ? (thrown.why ?? thrown.what) : messageOf(thrown);
  const reason = PREFIXES.reduce((text, prefix) => text.replace(prefix, ''), why).replace(/: unknown$/, '');
  const missing = /no such file or directory/.test(reason);
  return new WeftError(codeOf(reason), {
    what,
    why: reason,
    ...(missing ? { hint: 'Check the command, its path in the image, and the mounts.' } : {}),
    cause: thrown,
  });
}

/** What runc says of the command itself begins with `exec "NAME": `, or names the exec of an entry point. */
function codeOf(reason: string): ErrorCode {
  if (!/\bexec:? "|^exec /.test(reason)) return 'RUNTIME';
  if (/executable file not found|no such file or directory/.test(reason)) return 'NO_COMMAND';
  return /permission denied|exec format error|is a directory/.test(reason) ? 'NOT_EXECUTABLE' : 'RUNTIME';
}
