/** Where a task stands among others on its node, as its files tell it. */
import { readFile } from 'node:fs/promises';
import type { Link } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { ViewByKind } from '#model/view-state.js';
import type { FilesPlace } from './container-files.js';

export interface NodeFiles {
  nodeName: string;
  /** Path of the node's resolv.conf. */
  resolvConf: string;
}

const HOSTS = '/etc/hosts';

/** @param view of the node */
export async function filesPlace(task: Task, view: ViewByKind, { nodeName, resolvConf }: NodeFiles): Promise<FilesPlace> {
  const links = linkLines(task, view);
  if (task.shares !== undefined) return { owner: view.tasks.find((t) => t.id === task.shares), links };
  if (task.networkMode?.kind !== 'host') return { links, gateway: gatewayOf(task, view) };
  const read = (path: string) => readFile(path, 'utf8').catch(() => '');
  const [resolvText, hosts] = await Promise.all([read(resolvConf), read(HOSTS)]);
  return { host: { name: nodeName, resolvConf: resolvText, hosts }, links, gateway: '127.0.0.1' };
}

/** The node's own address on a network of the task, rather one that leads out. Pure. */
export function gatewayOf(task: Task, { networks }: Pick<ViewByKind, 'networks'>): string | undefined {
  const on = task.endpoints.flatMap(
    (e) => networks.find((n) => n.id === e.networkId && (n.driver === 'overlay' || n.driver === 'bridge')) ?? [],
  );
  return (on.find((n) => !n.internal) ?? on[0])?.gateway;
}

/**
 * Links as lines of /etc/hosts. On a network with names, an alias has the addresses of the name it stands for; on Docker's
 * default bridge, those of the tasks on this node. Pure.
 */
export function linkLines(task: Task, view: ViewByKind): string[] {
  return (task.links ?? []).flatMap((link) => {
    const found = new Set([...namedAddresses(task, link, view), ...neighbourAddresses(task, link, view)]);
    const names = [...new Set([link.alias, link.service ?? link.container ?? link.alias])].join(' ');
    return [...found].sort().map((address) => `${address}\t${names}`);
  });
}

function namedAddresses(task: Task, { service, container }: Link, view: ViewByKind): string[] {
  const name = (service === undefined ? (container ?? '') : `${service}.${task.stack}`).toLowerCase();
  const on = new Set(task.endpoints.map((e) => e.networkId));
  return view.names.filter((r) => on.has(r.networkId) && r.name === name).flatMap((r) => r.addresses);
}

function neighbourAddresses(task: Task, { service, container }: Link, view: ViewByKind): string[] {
  const [bridge] = task.networkMode?.kind === 'bridge' ? task.endpoints : [];
  if (!bridge) return [];
  const isMeant = (t: Task) => (service === undefined ? t.name === container : t.service === service && t.stack === task.stack);
  const others = view.tasks.filter((t) => t.nodeId === task.nodeId && t.id !== task.id && t.desired === 'run' && isMeant(t));
  return others.flatMap((t) => t.endpoints.filter((e) => e.networkId === bridge.networkId).map((e) => e.ipv4));
}
