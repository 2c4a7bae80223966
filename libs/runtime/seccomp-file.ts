/** A filter that the user wrote, in Docker's form → what runc takes, for one container on one machine. Pure; the rules are Docker's. */
import { decodeSeccomp, type SeccompFile } from '#model/seccomp.js';
import { architecturesOf, type SeccompProfile, type SeccompRule } from './seccomp.js';

/** What the conditions of a profile look at. */
export interface SeccompPlace {
  capabilities: readonly string[];
  /** Node's name of the architecture. */
  arch: string;
  /** Release of the kernel, as uname(2) tells it. */
  kernel: string;
}

type FileRule = NonNullable<SeccompFile['syscalls']>[number];

/** Go's names, which Docker's files use. */
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm64: 'arm64' };

/** @throws CORRUPT for what is no profile */
export function seccompProfileOf(text: string, place: SeccompPlace): SeccompProfile {
  const file = decodeSeccomp(text);
  return {
    defaultAction: file.defaultAction,
    ...(typeof file.defaultErrnoRet === 'number' ? { defaultErrnoRet: file.defaultErrnoRet } : {}),
    architectures: architectures(file, place.arch),
    syscalls: (file.syscalls ?? []).filter((rule) => counts(rule, place)).map(ruleOf),
  };
}

function architectures({ architectures: named, archMap }: SeccompFile, arch: string): string[] {
  if (named && named.length > 0) return named;
  const native = architecturesOf(arch);
  const mapped = archMap?.find(({ architecture }) => architecture === native[0]);
  return mapped ? [mapped.architecture, ...(mapped.subArchitectures ?? [])] : native;
}

function counts({ includes, excludes }: FileRule, { capabilities, arch, kernel }: SeccompPlace): boolean {
  const go = GO_ARCH[arch] ?? arch;
  const isOlder = (than: string) => compareReleases(kernel, than) < 0;
  if (excludes?.arches?.includes(go) || excludes?.caps?.some((c) => capabilities.includes(c))) return false;
  if (excludes?.minKernel && !isOlder(excludes.minKernel)) return false;
  if (includes?.arches?.length && !includes.arches.includes(go)) return false;
  if (includes?.caps && !includes.caps.every((c) => capabilities.includes(c))) return false;
  return !(includes?.minKernel && isOlder(includes.minKernel));
}

/** By the first two numbers. */
function compareReleases(a: string, b: string): number {
  const [major = 0, minor = 0] = a.split('.').map((part) => parseInt(part, 10));
  const [otherMajor = 0, otherMinor = 0] = b.split('.').map((part) => parseInt(part, 10));
  return major - otherMajor || minor - otherMinor;
}

function ruleOf({ name, names, action, errnoRet, args }: FileRule): SeccompRule {
  return {
    names: [...(names ?? []), ...(name ? [name] : [])],
    action,
    ...(typeof errnoRet === 'number' ? { errnoRet } : {}),
    ...(args && args.length > 0
      ? { args: args.map(({ index, value, valueTwo, op }) => ({ index, value, ...(valueTwo ? { valueTwo } : {}), op })) }
      : {}),
  };
}
