/**
 * `sysctls`: settings of the kernel that a container has of its own, one set a namespace (namespaces(7), ipc_namespaces(7)).
 * All others belong to the node, and no container may change them.
 */
import { SYSCTL_PATTERN } from '#model/container-keys.js';
import { entriesOf, readText, reject, report, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';

/** Of the IPC namespace; with all that begin with fs.mqueue. */
const OF_IPC = new Set(['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'].map((k) => `kernel.${k}`));
const isOfIpc = (key: string): boolean => OF_IPC.has(key) || key.startsWith('fs.mqueue.');
const isOfNetwork = (key: string): boolean => key.startsWith('net.');
/** Without it 127.0.0.11 does not lead to the resolver. */
const OURS = 'net.ipv4.conf.all.route_localnet';
const DEVICE = /^net\.ipv[46]\.(conf|neigh)\.([^.]+)\./;

export function readSysctls(c: Context, field: Field): Record<string, string> {
  const found: [string, string][] = [];
  for (const entry of entriesOf(c, field) ?? []) {
    const key = dotted(entry.key);
    const text = readText(c, entry, 'a value');
    if (text === undefined) continue;
    const fault = faultOf(key, text);
    if (fault) report(c, entry.at, entry.path, fault.message, fault.hint);
    else found.push([key, asTheKernelPrints(text)]);
  }
  return Object.fromEntries(found);
}

/** `net/ipv4/ip_forward` is another way to write it (sysctl(8)). */
const dotted = (key: string): string => (/^[a-z]+\//.test(key) ? key.replace(/[./]/g, (sign) => (sign === '/' ? '.' : '/')) : key);

/** Numbers plain, single spaces: what is set and what is read are compared. */
const asTheKernelPrints = (text: string): string =>
  text
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/^(-?)0+(?=\d)/, '$1'))
    .join(' ');

function faultOf(key: string, text: string): { message: string; hint?: string } | undefined {
  if (!SYSCTL_PATTERN.test(key) || key.includes('..')) return { message: `${quote(key)} is not the name of a kernel setting` };
  if (!/^[a-zA-Z0-9 \t,._:/-]{1,1024}$/.test(text.trim())) return { message: `a setting is one line of plain text, found ${quote(text)}` };
  if (key === OURS) return { message: 'Weft sets this itself: the name server is asked at 127.0.0.11' };
  if (key === 'kernel.hostname') return { message: 'the name of the host is set with "hostname"' };
  if (key === 'kernel.domainname') return { message: 'the domain is set with "domainname"' };
  const device = DEVICE.exec(key)?.[2];
  if (device !== undefined && !['all', 'default', 'lo'].includes(device))
    return { message: 'the settings are made before the interface is there', hint: 'use "default", which every interface takes over' };
  if (isOfNetwork(key) || isOfIpc(key)) return undefined;
  return {
    message: `${quote(key)} belongs to the whole node, not to a container`,
    hint: 'set it on the nodes, in /etc/sysctl.d',
  };
}

/** Settings of a namespace that is not the container's own. Read when the whole service is. */
export function checkSysctls(c: Context, field: Field, { container, networkMode }: ServiceDraft): void {
  for (const entry of entriesOf(c, field) ?? []) {
    const kind = networkMode?.mode.kind;
    const key = dotted(entry.key);
    if (isOfNetwork(key) && (kind === 'host' || kind === 'service' || kind === 'container'))
      reject(c, entry, `it is a setting of the network, which is not the service’s own (network_mode)`, 'set it where the network is');
    if (isOfIpc(key) && container.namespaces?.ipc === 'host')
      reject(c, entry, 'it is a setting of the IPC namespace, which is the node’s (ipc: host)', 'set it on the nodes, in /etc/sysctl.d');
  }
}
