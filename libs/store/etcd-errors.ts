/**
 * Errors of etcd3 as ours. etcd3 turns gRPC errors into classes of its own and keeps the code only at the head of the message
 * ("14 UNAVAILABLE: …").
 */
import { ClientClosedError, EtcdLeaseInvalidError } from 'etcd3';
import { messageOf, WeftError } from '#base/errors.js';
import { HistoryLost } from './wire.js';

/** gRPC codes with which etcd says that it did not apply a request: bad argument, not found, exhausted, precondition, range, denied. */
const REFUSALS = new Set([3, 5, 7, 8, 9, 11, 12, 16]);

function grpcCode(message: string): number | undefined {
  const match = /^(?:\w+: )?(\d{1,2}) [A-Z_]+:/.exec(message);
  return match ? Number(match[1]) : undefined;
}

/** The request never left this process. */
export function isNeverSent(error: unknown): boolean {
  return (
    error instanceof ClientClosedError ||
    /No connection established|Channel has been shut down|Channel closed before call started/.test(messageOf(error))
  );
}

/**
 * The request was not looked at, and may go to another member: it never left, or the member that got it has no leader or
 * still learns. (etcd checks that before it reads a request: etcdserver/api/v3rpc/interceptor.go.)
 */
export function isRefusedUnread(error: unknown): boolean {
  return isNeverSent(error) || /etcdserver: (no leader|rpc not supported for learner)/.test(messageOf(error));
}

/** The request surely has no effect: never sent, or refused by etcd. */
function isSurelyNotApplied(error: unknown): boolean {
  if (error instanceof EtcdLeaseInvalidError || isRefusedUnread(error)) return true;
  const code = grpcCode(messageOf(error));
  return code !== undefined && REFUSALS.has(code);
}

export function readError(what: string, error: unknown): WeftError {
  const why = messageOf(error);
  if (/required revision (has been compacted|is a future revision)/.test(why)) return new HistoryLost(why);
  return new WeftError('STORE', { what, why, cause: error });
}

export function writeError(what: string, error: unknown): WeftError {
  if (isSurelyNotApplied(error)) return new WeftError('STORE', { what, why: messageOf(error), cause: error });
  return new WeftError('OUTCOME_UNKNOWN', {
    what,
    why: `etcd did not confirm it, and may have applied it or may still do so (${messageOf(error)})`,
    cause: error,
  });
}
