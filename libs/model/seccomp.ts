/**
 * A file with a system call filter, as `security_opt: seccomp:FILE` names it: Docker's form (moby, profiles/seccomp: archMap,
 * includes, excludes), of which the OCI's own is a part.
 */
import { z } from 'zod';
import { decode } from './codec.js';

const condition = z.object({
  caps: z.array(z.string()).nullish(),
  /** Go's names: amd64, arm64. */
  arches: z.array(z.string()).nullish(),
  minKernel: z
    .string()
    .regex(/^\d+\.\d+$/)
    .nullish(),
});
const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((op) => `SCMP_CMP_${op}`);
const action = z.string().regex(/^SCMP_ACT_[A-Z_]+$/);

export const seccompFileSchema = z.object({
  defaultAction: action,
  defaultErrnoRet: number.nullish(),
  architectures: z.array(z.string()).nullish(),
  archMap: z.array(z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullish() })).nullish(),
  syscalls: z
    .array(
      z.object({
        name: z.string().nullish(),
        names: z.array(z.string()).nullish(),
        action,
        errnoRet: number.nullish(),
        args: z.array(z.object({ index: number, value: number, valueTwo: number.nullish(), op: z.enum(OPERATORS) })).nullish(),
        includes: condition.nullish(),
        excludes: condition.nullish(),
      }),
    )
    .nullish(),
});

export type SeccompFile = z.infer<typeof seccompFileSchema>;

/** @throws CORRUPT for what is no profile */
export const decodeSeccomp = (text: string): SeccompFile => decode(seccompFileSchema, text, 'the system call filter');
