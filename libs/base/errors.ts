/**
 * The error catalogue: every error that a person can meet has a code here, with the exit code of `ctl`, the gRPC status
 * it travels as, and the remedy shown when the place that raises it knows no better one.
 *
 * A WeftError reads as three lines: what happened, why, and what to do about it.
 */

/** gRPC status codes used by Weft (numbers from the gRPC core specification, "Status codes and their use in gRPC"). */
export const GrpcStatus = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

interface Kind {
  /** Exit code of `ctl`: 1 failed, 2 wrong usage; 126 and 127 as a shell has them for a command that could not be run. */
  exit: 1 | 2 | 126 | 127;
  status: number;
  /** What to do, when the thrower gives no better hint. */
  hint: string;
}

export const CATALOGUE = {
  // input
  USAGE: { exit: 2, status: GrpcStatus.INVALID_ARGUMENT, hint: 'See `ctl --help` for the commands and their flags.' },
  COMPOSE_INVALID: {
    exit: 1,
    status: GrpcStatus.INVALID_ARGUMENT,
    hint: 'Correct the file at the position given and run the command again.',
  },
  BAD_NAME: {
    exit: 1,
    status: GrpcStatus.INVALID_ARGUMENT,
    hint: 'Use lower-case letters, digits, "-" and "_", beginning with a letter or digit, 63 characters at most.',
  },
  BAD_ADDRESS: { exit: 1, status: GrpcStatus.INVALID_ARGUMENT, hint: 'Write addresses like 10.1.0.7 and subnets like 10.1.0.0/24.' },
  BAD_VALUE: { exit: 1, status: GrpcStatus.INVALID_ARGUMENT, hint: 'Correct the value and try again.' },
  // things that are or are not there
  NOT_FOUND: { exit: 1, status: GrpcStatus.NOT_FOUND, hint: 'List what exists with `ctl ls`, `ctl ps` or `ctl node ls`.' },
  CONFLICT: { exit: 1, status: GrpcStatus.ABORTED, hint: 'Something else changed it at the same time: run the command again.' },
  PORT_TAKEN: { exit: 1, status: GrpcStatus.FAILED_PRECONDITION, hint: 'Publish another port, or stop what holds this one.' },
  SUBNET_CLASH: { exit: 1, status: GrpcStatus.FAILED_PRECONDITION, hint: 'Choose a subnet that no node has a route to.' },
  ADDRESSES_EXHAUSTED: { exit: 1, status: GrpcStatus.RESOURCE_EXHAUSTED, hint: 'Give the network a larger subnet, or run fewer replicas.' },
  IMAGE_UNKNOWN: {
    exit: 1,
    status: GrpcStatus.NOT_FOUND,
    hint: 'Load it with `ctl image load ARCHIVE`, or check the name and the registry login.',
  },
  IMAGE_INVALID: { exit: 1, status: GrpcStatus.INVALID_ARGUMENT, hint: 'Make the archive with `docker save` or an OCI layout tar.' },
  NO_NODES: { exit: 1, status: GrpcStatus.FAILED_PRECONDITION, hint: 'Look at `ctl node ls`; join a node or bring one back.' },
  DEPLOY_FAILED: { exit: 1, status: GrpcStatus.FAILED_PRECONDITION, hint: 'Look at `ctl ps` and `ctl logs`.' },
  // trust
  UNAUTHENTICATED: {
    exit: 1,
    status: GrpcStatus.UNAUTHENTICATED,
    hint: 'Join with a fresh token from `ctl node token`, or choose the right context with `ctl context use`.',
  },
  FORBIDDEN: { exit: 1, status: GrpcStatus.PERMISSION_DENIED, hint: 'Use a context whose certificate has the role that is needed.' },
  TOKEN_INVALID: {
    exit: 1,
    status: GrpcStatus.UNAUTHENTICATED,
    hint: 'Make a new one with `ctl node token`: tokens work once and expire.',
  },
  // the machine and the cluster
  UNAVAILABLE: {
    exit: 1,
    status: GrpcStatus.UNAVAILABLE,
    hint: 'Check that the controller runs and that its address is right (`ctl context ls`).',
  },
  TIMEOUT: { exit: 1, status: GrpcStatus.DEADLINE_EXCEEDED, hint: 'Try again; if it goes on, look at the health of controller and etcd.' },
  NOT_LEADER: { exit: 1, status: GrpcStatus.UNAVAILABLE, hint: 'Another controller leads now: try again.' },
  /** A write whose outcome is not known: the request may or may not have been applied. Re-read before deciding. */
  OUTCOME_UNKNOWN: { exit: 1, status: GrpcStatus.DEADLINE_EXCEEDED, hint: 'Read the state again before trying once more.' },
  STORE: { exit: 1, status: GrpcStatus.UNAVAILABLE, hint: 'Check that etcd runs and answers.' },
  KERNEL: { exit: 1, status: GrpcStatus.INTERNAL, hint: 'Run as root, on a kernel ≥ 5.16 with vxlan, veth, bridge and nftables.' },
  COMMAND_FAILED: { exit: 1, status: GrpcStatus.INTERNAL, hint: 'Read what the command said.' },
  RUNTIME: { exit: 1, status: GrpcStatus.INTERNAL, hint: 'Check that containerd runs and that its socket is readable.' },
  /** Of a container's process, or one that is added to it. */
  NO_COMMAND: { exit: 127, status: GrpcStatus.NOT_FOUND, hint: 'Check the command, its path in the image, and the mounts.' },
  NOT_EXECUTABLE: {
    exit: 126,
    status: GrpcStatus.FAILED_PRECONDITION,
    hint: 'Check that it is a program for this platform, and its permissions.',
  },
  CORRUPT: {
    exit: 1,
    status: GrpcStatus.INTERNAL,
    hint: 'The stored value is not of the form it should have: restore it, or remove the object.',
  },
  INTERNAL: { exit: 1, status: GrpcStatus.INTERNAL, hint: 'This is a fault in Weft: please report it with the text above.' },
} as const satisfies Record<string, Kind>;

export type ErrorCode = keyof typeof CATALOGUE;

export interface ErrorParts {
  /** One line: what could not be done. */
  what: string;
  /** One line: the reason. */
  why?: string;
  /** One line: the remedy; the catalogue's own if left out. */
  hint?: string;
  /** What of the Compose model it is about, key by key: whoever has the files finds the place in them. */
  path?: readonly string[];
  cause?: unknown;
}

export class WeftError extends Error {
  readonly code: ErrorCode;
  readonly what: string;
  readonly why: string | undefined;
  readonly hint: string;
  readonly path: readonly string[];

  constructor(code: ErrorCode, parts: ErrorParts | string) {
    const p = typeof parts === 'string' ? { what: parts } : parts;
    super(p.why ? `${p.what}: ${p.why}` : p.what, p.cause === undefined ? undefined : { cause: p.cause });
    this.name = 'WeftError';
    this.code = code;
    this.what = p.what;
    this.why = p.why;
    this.hint = p.hint ?? CATALOGUE[code].hint;
    this.path = p.path ?? [];
  }

  get exit(): Kind['exit'] {
    return CATALOGUE[this.code].exit;
  }

  get status(): number {
    return CATALOGUE[this.code].status;
  }
}

/** What goes wrong in `act` is about this of the Compose model, where it does not say itself what it is about. */
export function about<T>(path: readonly string[], act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof WeftError) || error.path.length > 0) throw error;
    const { code, what, why, hint } = error;
    throw new WeftError(code, { what, why, hint, path, cause: error });
  }
}

/** The message of anything that was thrown, without its stack. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Narrow to a WeftError, wrapping whatever else was thrown under `code`. */
export function asWeftError(thrown: unknown, code: ErrorCode = 'INTERNAL', what = 'unexpected error'): WeftError {
  if (thrown instanceof WeftError) return thrown;
  return new WeftError(code, { what, why: messageOf(thrown), cause: thrown });
}
