import { macOfIp } from '#base/address.js';
import { endpointViewSchema, nameRecordSchema, networkViewSchema, settingsSchema, vipViewSchema } from '#model/node-view.js';
import { taskSchema } from '#model/task.js';
import type { ViewByKind } from '#model/view-state.js';
import { taskNamespace } from './names.js';
import { concerns, tracePath } from './trace-path.js';

const NET = 'aaaaaaaa';
const [HERE, FAR] = ['11111111', '22222222'];
const FROM = 'f'.repeat(16);
const TO = 'e'.repeat(16);
const endpoint = (ipv4: string, nodeId: string, vtep: string, taskId: string) =>
  endpointViewSchema.parse({ networkId: NET, ipv4, mac: macOfIp(ipv4), nodeId, vtep, taskId });

const view: ViewByKind = {
  tasks: [
    taskSchema.parse({
      ...{ id: FROM, stack: 's', service: 'probe', slot: 1, nodeId: HERE, name: 's-probe-1', specHash: 'x', ports: [], createdAt: 0 },
      container: { image: 'busybox' },
      endpoints: [{ networkId: NET, ipv4: '10.1.0.2', mac: macOfIp('10.1.0.2') }],
    }),
  ],
  networks: [
    networkViewSchema.parse({
      ...{ id: NET, name: 's_default', stack: 's', key: 'default', driver: 'overlay', subnet: '10.1.0.0/24', gateway: '10.1.0.1' },
      ...{ vni: 4097, mtu: 1450, nodeAddress: '10.1.0.250' },
    }),
  ],
  endpoints: [endpoint('10.1.0.2', HERE, '192.0.2.1', FROM), endpoint('10.1.0.3', FAR, '192.0.2.2', TO)],
  names: [nameRecordSchema.parse({ networkId: NET, name: 'web', addresses: ['10.1.0.200'] })],
  vips: [vipViewSchema.parse({ networkId: NET, service: 'web', ipv4: '10.1.0.200', backends: ['10.1.0.3'] })],
  publications: [],
  members: [],
  settings: settingsSchema.parse({}),
};
const start = { nodeId: HERE, taskId: FROM };

describe('the path of a trace', () => {
  it('goes from the name by the virtual address over both nodes into the task', () => {
    const { hops, target, far, broken } = tracePath(view, start, 'web');
    expect(hops.map((h) => `${h.step} ${h.nodeId === HERE ? 'here' : 'far'}`)).toEqual([
      ...['name here', 'task here', 'vip here', 'bridge here', 'neighbour here', 'fdb here', 'vtep here'],
      ...['remote vtep far', 'remote bridge far', 'veth far'],
    ]);
    expect({ target, far, broken }).toEqual({ target: '10.1.0.200', far: { nodeId: FAR, vtep: '192.0.2.2' }, broken: undefined });
  });

  it('stays on the node where the other end is there', () => {
    const { hops, far } = tracePath(view, start, '10.1.0.2');
    expect(hops.map((h) => h.step)).toEqual(['task', 'bridge', 'veth']);
    expect(far).toBeUndefined();
  });

  it('ends where a name is unknown, and goes to the outside by the probe alone', () => {
    expect(tracePath(view, start, 'other').broken?.why).toMatch(/other has no address on s_default/);
    expect(tracePath(view, start, '198.51.100.7')).toMatchObject({ target: '198.51.100.7', hops: [{ step: 'task' }] });
  });

  it('knows at which hop a fault is of concern', () => {
    const { hops } = tracePath(view, start, '10.1.0.3');
    const at = (namespace: string, kind: string, key: string) =>
      hops.filter((h) => concerns(h, { namespace, kind, key })).map((h) => `${h.step} ${h.nodeId === HERE ? 'here' : 'far'}`);
    expect(at('', 'neighbour', 'wfb4097 10.1.0.3')).toEqual(['neighbour here']);
    expect(at('', 'fdb', `wfx4097 ${macOfIp('10.1.0.3')} vxlan`)).toEqual(['fdb here']);
    expect(at('', 'link', 'wfb4097')).toEqual(['bridge here', 'remote bridge far']);
    expect(at(taskNamespace(TO), 'route', 'main default')).toEqual(['veth far']);
    expect(at('', 'link', 'wfb9999')).toEqual([]);
  });
});
