/** What a kernel can make and not every kernel can, tried out in a namespace of its own that is gone with the attempt. */
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import type { Run } from './runner.js';
import { run } from './runner.js';

/** Each on a wire of its own: a device is the parent of macvlan or of ipvlan interfaces, not of both. */
const ATTEMPTS: Readonly<Record<string, string>> = {
  macvlan: 'type macvlan mode bridge',
  ipvlan: 'type ipvlan mode l2',
  vlan: 'type vlan id 5',
};

/** Names of what works: `macvlan`, `ipvlan`, `vlan` (IEEE 802.1Q). A module that is only not loaded yet is loaded by trying. */
export async function probeFeatures(runner: Run = run): Promise<string[]> {
  const names = Object.keys(ATTEMPTS);
  const wires = names.map((_, i) => `link add a${i} type veth peer name b${i}`);
  const attempts = names.map((name, i) => `link add link a${i} name c${i} ${ATTEMPTS[name]}`);
  const input = `${[...wires, ...attempts].join('\n')}\n`;
  const { stderr } = await runner(['unshare', '--net', '--', 'ip', '-force', '-batch', '-'], { input, accept: [1, 2] });
  const failed = new Set([...stderr.matchAll(/Command failed -:(\d+)/g)].map((m) => Number(m[1])));
  return names.filter((_, i) => !failed.has(names.length + i + 1));
}

/** A protocol that the kernel has (proc(5)); and modules, built in or to be loaded by the first socket that asks (modules.dep(5)). */
const SCTP_IN: readonly (readonly [file: (kernel: string) => string, said: RegExp])[] = [
  [() => '/proc/net/protocols', /^SCTP\b/m],
  [(kernel) => `/lib/modules/${kernel}/modules.builtin`, /\/sctp\.ko/],
  [(kernel) => `/lib/modules/${kernel}/modules.dep`, /^\S*\/sctp\.ko/m],
];

/** Whether a container here can have an SCTP socket (RFC 9260). */
export async function hasSctp(read: (file: string) => Promise<string> = (file) => readFile(file, 'utf8')): Promise<boolean> {
  const kernel = release();
  const found = await Promise.all(SCTP_IN.map(async ([file, said]) => said.test(await read(file(kernel)).catch(() => ''))));
  return found.includes(true);
}
