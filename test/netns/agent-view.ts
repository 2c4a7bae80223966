/** What a controller would tell the one agent of agent.spec.ts: a network of its own, and the tasks on it. */
import { macOfIp } from '#base/address.js';
import type { Resource } from '#model/node-view.js';
import type { Task } from '#model/task.js';
import { makeTask } from '../../apps/agent/spec-kit.js';
import { testId } from '../fixtures/netns-views.js';

export const ADDRESS = '192.168.91.11';
export const NODE_ID = testId(0);
export const CLUSTER = 'c1c1c1c1';
export const NETWORK = { id: testId(0xf), key: 'default', base: '10.191.0' };

/** @param octet the last of its address */
export function task(n: number, octet: number, command: string, more: Partial<Task> = {}): Task {
  const ipv4 = `${NETWORK.base}.${octet}`;
  return makeTask(testId(n), {
    nodeId: NODE_ID,
    name: `shop-t${n}-1`,
    service: `t${n}`,
    container: { ...makeTask(testId(n)).container, image: 'busybox:test', command: ['sh', '-c', command] },
    endpoints: [{ networkId: NETWORK.id, ipv4, mac: macOfIp(ipv4), aliases: [] }],
    ...more,
  });
}

/** What a controller would say of these tasks. */
export function resources(tasks: Task[]): Resource[] {
  const { id, key, base } = NETWORK;
  const endpoint = (ipv4: string, taskId?: string): Resource => ({
    kind: 'endpoint',
    value: { networkId: id, ipv4, mac: macOfIp(ipv4), nodeId: NODE_ID, vtep: ADDRESS, taskId },
  });
  return [
    { kind: 'settings', value: { vxlanPort: 4789, wireguardPort: 7706, guardedTcpPorts: [7700, 7702] } },
    { kind: 'member', value: { id: NODE_ID, name: 'n1', address: ADDRESS, kind: 'node' } },
    {
      kind: 'network',
      value: {
        id,
        name: 'shop_default',
        stack: 'shop',
        key,
        driver: 'overlay',
        internal: false,
        subnet: `${base}.0/24`,
        gateway: `${base}.1`,
        vni: 77_191,
        mtu: 1450,
        nodeAddress: `${base}.254`,
      },
    },
    endpoint(`${base}.254`),
    ...tasks.flatMap((t): Resource[] => {
      const ipv4 = t.endpoints[0]?.ipv4 ?? '';
      const names = [t.name, t.service, `tasks.${t.service}`];
      return [
        { kind: 'task', value: t },
        endpoint(ipv4, t.id),
        ...names.map((name): Resource => ({ kind: 'name', value: { networkId: id, name, addresses: [ipv4] } })),
      ];
    }),
  ];
}
