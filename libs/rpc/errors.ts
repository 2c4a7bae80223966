/**
 * Errors across gRPC: a WeftError travels as a status plus a binary trailer with its three lines, so that `ctl` shows what
 * the controller or the agent meant. What is no WeftError travels as INTERNAL with its message only, never its stack.
 */
import { Metadata, status as GrpcCode, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { asWeftError, CATALOGUE, WeftError, type ErrorCode } from '#base/errors.js';
import { ErrorDetail } from './gen/weft/v1/types.js';

const TRAILER = 'weft-error-bin';

export const toDetail = (error: WeftError): ErrorDetail => ({
  code: error.code,
  what: error.what,
  why: error.why ?? '',
  hint: error.hint,
  path: [...error.path],
});

export function fromDetail(detail: ErrorDetail): WeftError {
  const code: ErrorCode = detail.code in CATALOGUE ? (detail.code as ErrorCode) : 'INTERNAL';
  return new WeftError(code, { what: detail.what, why: detail.why || undefined, hint: detail.hint || undefined, path: detail.path });
}

/** What a handler gives back to grpc-js for anything that was thrown. */
export function toServiceError(thrown: unknown): Partial<StatusObject> & { name: string; message: string } {
  const error = asWeftError(thrown);
  const metadata = new Metadata();
  metadata.set(TRAILER, Buffer.from(ErrorDetail.encode(toDetail(error)).finish()));
  return { name: 'WeftError', message: error.message, code: error.status, details: error.message, metadata };
}

const isServiceError = (thrown: unknown): thrown is ServiceError => thrown instanceof Error && 'code' in thrown && 'metadata' in thrown;

/** What a caller makes of anything that a grpc-js call failed with. */
export function fromServiceError(thrown: unknown, target = 'the server'): WeftError {
  if (!isServiceError(thrown)) return asWeftError(thrown);
  const trailer = thrown.metadata?.get(TRAILER)?.[0];
  if (Buffer.isBuffer(trailer)) return fromDetail(ErrorDetail.decode(trailer));
  switch (thrown.code) {
    case GrpcCode.UNAVAILABLE:
      return new WeftError('UNAVAILABLE', { what: `cannot reach ${target}`, why: plainly(thrown.details), cause: thrown });
    case GrpcCode.DEADLINE_EXCEEDED:
      return new WeftError('TIMEOUT', { what: `${target} did not answer in time`, why: thrown.details, cause: thrown });
    case GrpcCode.UNAUTHENTICATED:
      return new WeftError('UNAUTHENTICATED', { what: `${target} does not know this certificate`, why: thrown.details, cause: thrown });
    case GrpcCode.CANCELLED:
      return new WeftError('UNAVAILABLE', { what: 'the call was cancelled', why: thrown.details, cause: thrown });
    default:
      return new WeftError('INTERNAL', { what: `${target} failed`, why: thrown.details || thrown.message, cause: thrown });
  }
}

/** grpc-js wraps the system's reason: `No connection established. Last error: Error: connect ECONNREFUSED …. Resolution note: `. */
export const plainly = (details: string): string => /Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(details)?.[1] ?? details;
