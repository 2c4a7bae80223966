import { isOurLink, isOurNamespace, taskNamespace, vethName } from './names.js';
import { nodeKernel } from './node-kernel.js';
import type { EndpointView } from '#model/node-view.js';
import { endpoint, HOST, id, network, OTHER, publicationsOf, task, view } from '../../test/fixtures/netns-small-views.js';

const stateOf = (...args: Parameters<typeof view>) => nodeKernel(view(...args), HOST);
const nodeOf = (...args: Parameters<typeof view>) => {
  const space = stateOf(...args).namespaces[''];
  if (!space) throw new Error('no node namespace');
  return space;
};
const taskOf = (n: number, ...args: Parameters<typeof view>) => {
  const space = stateOf(...args).namespaces[taskNamespace(id(1000 + n))];
  if (!space) throw new Error('no task namespace');
  return space;
};

describe('nodeKernel', () => {
  it('makes a bridge with the gateway and the node’s own MAC and address, and a silent VXLAN device', () => {
    const node = nodeOf({ networks: [network(1)] });
    expect(node.links).toEqual({
      wfb4097: { kind: 'bridge', up: true, mac: '02:57:00:00:00:01', mtu: 1450 },
      wfx4097: { kind: 'vxlan', up: true, vni: 4097, port: 4789, local: HOST.address, mtu: 1450, bridge: 'wfb4097', suppress: true },
    });
    expect(Object.keys(node.addresses)).toEqual(['wfb4097 10.1.0.1/24', 'wfb4097 10.1.0.251/32']);
    expect(node.routes).toEqual({
      'main 10.1.0.0/24': { table: 'main', destination: '10.1.0.0/24', dev: 'wfb4097', source: '10.1.0.251' },
    });
  });

  it('keeps the settings of the network that a service asks for, over its own defaults', () => {
    const own = task(10, [1]);
    const sysctls = { 'net.ipv4.ip_forward': '1', 'net.core.somaxconn': '5', 'kernel.msgmax': '9' };
    const { sysctls: kept } = taskOf(10, { networks: [network(1)], tasks: [{ ...own, container: { ...own.container, sysctls } }] });
    expect(kept).toMatchObject({ 'net.ipv4.ip_forward': '1', 'net.core.somaxconn': '5', 'net.ipv4.ip_unprivileged_port_start': '0' });
    expect(kept).not.toHaveProperty('kernel.msgmax');
  });

  it('makes no VXLAN device and no remote rows for a bridge network', () => {
    const node = nodeOf({ networks: [network(1, { driver: 'bridge' })], endpoints: [endpoint(1, 20)] });
    expect(Object.keys(node.links)).toEqual(['wfb4097']);
    expect([node.fdb, node.neighbours]).toEqual([{}, {}]);
  });

  it('costs three rows for a remote endpoint and none for a local one', () => {
    const node = nodeOf({ networks: [network(1)], endpoints: [endpoint(1, 20), endpoint(1, 10, HOST.address)] });
    expect(node.neighbours).toEqual({ 'wfb4097 10.1.0.20': { dev: 'wfb4097', address: '10.1.0.20', mac: '02:42:0a:01:00:14' } });
    expect(Object.values(node.fdb)).toEqual([
      { dev: 'wfx4097', mac: '02:42:0a:01:00:14', vtep: OTHER.address },
      { dev: 'wfx4097', mac: '02:42:0a:01:00:14' },
    ]);
  });

  it('never takes its own gateway or node address for a remote one', () => {
    const node = nodeOf({ networks: [network(1)], endpoints: [endpoint(1, 1), endpoint(1, 251)] });
    expect(node.neighbours).toEqual({});
  });

  it('numbers a task’s interfaces by network key, with a default route by the first that is not internal', () => {
    const networks = [network(2, { key: 'alpha', internal: true }), network(1, { key: 'beta' }), network(3, { key: 'gamma' })];
    const space = taskOf(10, { networks, tasks: [task(10, [1, 2, 3])] });
    expect(Object.keys(space.addresses)).toEqual(['eth0 10.2.0.10/24', 'eth1 10.1.0.10/24', 'eth2 10.3.0.10/24']);
    expect(space.routes['main default']).toEqual({ table: 'main', destination: 'default', dev: 'eth1', via: '10.1.0.1' });
    expect(space.rules).toEqual({
      1000: { priority: 1000, from: '10.2.0.10', table: '100' },
      1001: { priority: 1001, from: '10.1.0.10', table: '101' },
      1002: { priority: 1002, from: '10.3.0.10', table: '102' },
    });
    expect(space.routes['102 default']).toEqual({ table: '102', destination: 'default', dev: 'eth2', via: '10.3.0.1' });
    expect(space.routes['100 default']).toBeUndefined();
    expect(space.nft['ip weft']).toContain('dnat to 10.2.0.1:7753');
  });

  it('gives a task with one network no rules, and one with internal networks only no default route', () => {
    const space = taskOf(10, { networks: [network(1, { internal: true })], tasks: [task(10, [1])] });
    expect(space.rules).toEqual({});
    expect(Object.keys(space.routes)).toEqual(['main 10.1.0.0/24']);
  });

  it('gives a task without networks a namespace with a loopback', () => {
    const space = taskOf(10, { tasks: [task(10, [])] });
    expect(space.links).toEqual({ lo: { kind: 'loopback', up: true } });
    expect(space.nft['ip weft']).not.toContain('127.0.0.11');
  });

  it('leaves other nodes’ tasks alone', () => {
    expect(Object.keys(stateOf({ networks: [network(1)], tasks: [task(10, [1], { nodeId: OTHER.nodeId })] }).namespaces)).toEqual(['']);
  });

  it('publishes what the view says, on every node, one chain per number of tasks', () => {
    const text =
      nodeOf({ networks: [network(1)], publications: publicationsOf([endpoint(1, 20), endpoint(1, 10, HOST.address)]) }).nft['inet weft'] ??
      '';
    expect(text).toContain('elements = { tcp . 8080 : goto pub2 }');
    expect(text).toContain('elements = { tcp . 8080 . 0 : 10.1.0.10 . 80, tcp . 8080 . 1 : 10.1.0.20 . 80 }');
    expect(text).toContain('elements = { 192.0.2.1 . tcp . 8081 : goto pub_at2 }');
    expect(text.match(/chain pub_?(at)?[0-9]/g)).toEqual(['chain pub2', 'chain pub_at2']);
    expect(text).toMatch(/set unserved \{\n.*\n +elements = \{ tcp \. 8082 \}/);
    expect(text.indexOf('@unserved reject')).toBeLessThan(text.indexOf('goto input_from_task'));
  });

  it('publishes ports of mode host of its own running tasks, by a network that is not internal', () => {
    const networks = [network(1, { internal: true, key: 'a' }), network(2, { key: 'b' })];
    const ports = [{ target: 80, published: 8080, mode: 'host' as const }];
    const tasks = [
      task(10, [1, 2], { ports }),
      task(11, [2], { ports: [{ target: 80, published: 8081 }] }),
      task(12, [1], { ports }),
      task(13, [2], { ports, desired: 'stop' }),
    ];
    const text = nodeOf({ networks, tasks }).nft['inet weft'] ?? '';
    expect(text).toContain('elements = { tcp . 8080 : goto pub1 }');
    expect(text).toContain('elements = { tcp . 8080 . 0 : 10.2.0.10 . 80 }');
    const none = nodeKernel(view({ networks, tasks }), { ...HOST, runningTasks: new Set([id(1011)]) }).namespaces['']?.nft['inet weft'];
    expect(none).not.toContain('tcp . 8080');
  });

  it('publishes on one address where one is named, takes 0.0.0.0 for all, and leaves others what they have', () => {
    const backends = [{ taskId: id(1), nodeId: HOST.nodeId, networkId: id(1), ipv4: '10.1.0.10' }];
    const common = { stack: 's', service: 's', target: 80, backends };
    const publications = [
      { ...common, published: 8080, hostIp: '192.0.2.1', protocol: 'tcp' as const },
      { ...common, published: 8081, hostIp: '0.0.0.0', protocol: 'udp' as const },
      { ...common, published: 8083, protocol: 'tcp' as const, affinity: 'client' as const },
    ];
    const of = (refusedPorts: string[]) =>
      nodeKernel(view({ networks: [network(1)], publications }), { ...HOST, refusedPorts: new Set(refusedPorts) });
    const node = of([]).namespaces[''];
    const text = node?.nft['inet weft'] ?? '';
    expect(text).toContain('192.0.2.1 . tcp . 8080 : goto pub_at1');
    expect(text).toContain('udp . 8081 : goto pub1');
    expect(text).toContain('tcp . 8083 : goto pub_same1');
    expect(text).toContain('jhash ip saddr mod 1 map @behind');
    expect([node?.doors, node?.flows]).toEqual([[8081], ['udp 10.1.0.10']]);
    const rest = of(['192.0.2.1:8080/tcp', '0.0.0.0:8081/udp']).namespaces['']?.nft['inet weft'] ?? '';
    expect(rest).not.toMatch(/8080|8081/);
    expect(rest).toContain('8083');
  });

  describe('the mesh', () => {
    const published = (e: EndpointView): EndpointView => ({ ...e, published: true });
    const nodeEndpoint = { ...endpoint(1, 252), taskId: undefined, mac: '02:57:00:00:00:02' };

    it('sends to a published task elsewhere by its node, with the own address as source', () => {
      const node = nodeOf({ networks: [network(1)], endpoints: [published(endpoint(1, 20)), endpoint(1, 21), nodeEndpoint] });
      expect(node.routes['main 10.1.0.20/32']).toEqual({
        table: 'main',
        destination: '10.1.0.20/32',
        dev: 'wfb4097',
        via: '10.1.0.252',
        onlink: true,
        source: '10.1.0.251',
      });
      expect(node.routes['main 10.1.0.21/32']).toBeUndefined();
      expect(node.neighbours['wfb4097 10.1.0.252']?.mac).toBe('02:57:00:00:00:02');
      expect(node.nft['inet weft']).toContain('elements = { 192.0.2.2 . 10.1.0.20 }');
      // It brings connections in, and has none to send back.
      expect([node.rules, node.nft['netdev weft']]).toEqual([{}, undefined]);
    });

    it('does so without an address on the network where it runs no task there', () => {
      const guest = network(1, { nodeAddress: undefined });
      const node = nodeOf({ networks: [guest], endpoints: [published(endpoint(1, 20)), nodeEndpoint] });
      expect(node.addresses).toEqual({});
      expect(Object.values(node.routes)).toEqual([expect.objectContaining({ destination: '10.1.0.20/32', source: HOST.address })]);
      expect(node.links['wfb4097']).toMatchObject({ mac: '02:57:00:00:00:01' });
      const text = node.nft['inet weft'] ?? '';
      expect(text).toContain(`"wfb4097" : ${HOST.address}`);
      expect(text).not.toContain('10.1.0.1');
    });

    it('sends answers of its own published tasks home by the node they came in by', () => {
      const node = nodeOf({ networks: [network(1)], endpoints: [published(endpoint(1, 10, HOST.address))] });
      expect(node.rules).toEqual({
        '900 wfb4097': { priority: 900, mark: '0x40000000/0x40000000', iif: 'wfb4097', table: '4097' },
      });
      expect(node.routes['4097 default']).toEqual({
        table: '4097',
        destination: 'default',
        dev: 'wfb4097',
        via: '169.254.254.1',
        onlink: true,
      });
      expect(node.neighbours['wfb4097 169.254.254.1']?.mac).toBe('02:57:ff:ff:ff:ff');
      expect(node.fdb['wfx4097 02:57:00:00:00:02 vxlan']?.vtep).toBe(OTHER.address);
      expect(node.nft['inet weft']).toContain('02:57:00:00:00:02 : 0x40000002');
      expect(node.nft['netdev weft']).toContain('elements = { 0x40000002 : 02:57:00:00:00:02 }');
      expect(node.nft['netdev weft']).toContain('egress device "wfb4097"');
    });

    describe('over IPv6', () => {
      const six = { ipv6: { subnet: 'fd12::/64', gateway: 'fd12::1' }, nodeAddress6: 'fd12::251' };
      const far = { ...published(endpoint(1, 20)), ipv6: 'fd12::20' };
      const near = { ...published(endpoint(1, 10, HOST.address)), ipv6: 'fd12::10' };
      const node6 = { ...nodeEndpoint, ipv6: 'fd12::252' };
      const members = view().members.map((m, i) => ({ ...m, addresses6: [`fd99::${i + 1}`] }));
      const publications = publicationsOf([far, near, endpoint(1, 21)]).map((p) => ({
        ...p,
        backends: p.backends.map((b) => ({ ...b, ipv6: [far, near].find((e) => e.taskId === b.taskId)?.ipv6 })),
      }));

      it('goes the same ways, to the tasks that have it, with chains and maps of its own', () => {
        const node = nodeOf({ networks: [network(1, six)], endpoints: [far, near, node6], publications, members });
        expect(node.routes['main fd12::20/128']).toMatchObject({ via: 'fd12::252', onlink: true, source: 'fd12::251' });
        expect(node.routes['4097 ::/0']).toMatchObject({ via: 'fe80::57:ffff:ffff' });
        expect(node.rules['901 wfb4097']).toMatchObject({ priority: 901, family: 6, iif: 'wfb4097' });
        const text = node.nft['inet weft'] ?? '';
        expect(text).toContain('tcp . 8080 . 0 : fd12::10 . 80, tcp . 8080 . 1 : fd12::20 . 80');
        expect(text).toContain('tcp . 8080 : goto pub3');
        expect(text).toContain('tcp . 8080 : goto pub6_2');
        expect(text).toContain('fd99::2 . fd12::20');
        expect(text).toContain('"wfb4097" : fd12::251');
      });

      it('does so without an address on the network, and then comes in with an address of the node itself', () => {
        const guest = network(1, { nodeAddress: undefined });
        const node = nodeOf({ networks: [guest], endpoints: [far, node6], publications, members });
        expect(node.routes['main fd12::20/128']).toEqual(expect.not.objectContaining({ source: expect.anything() }));
        expect(node.neighbours['wfb4097 fd12::252']?.mac).toBe('02:57:00:00:00:02');
        expect(node.sysctls).toMatchObject({ 'net.ipv6.conf.wfb4097.disable_ipv6': '0', 'net.ipv6.conf.all.forwarding': '1' });
        expect(node.nft['inet weft']).toContain('"wfb4097" : fd99::1');
      });

      it('costs nothing where no task has it', () => {
        const node = nodeOf({ networks: [network(1)], endpoints: [published(endpoint(1, 20)), nodeEndpoint], members });
        expect(node.nft['inet weft']).not.toMatch(/published6|at_home6|ip6 saddr/);
        expect(Object.keys(node.rules)).toEqual([]);
        expect(node.sysctls['net.ipv6.conf.wfb4097.disable_ipv6']).toBe('1');
      });
    });

    it('costs nothing where nothing is published', () => {
      const node = nodeOf({ networks: [network(1)], endpoints: [endpoint(1, 10, HOST.address), endpoint(1, 20), nodeEndpoint] });
      expect([node.rules, node.nft['netdev weft'], Object.keys(node.routes)]).toEqual([{}, undefined, ['main 10.1.0.0/24']]);
      expect(node.nft['inet weft']).not.toMatch(/chain mesh|set mesh/);
    });
  });

  it('forgets flows to tasks that are gone or lost', () => {
    const endpoints = [endpoint(1, 20), endpoint(1, 21), { ...endpoint(1, 22), lost: true as const }];
    expect(nodeOf({ networks: [network(1)], endpoints }).flows).toEqual(['10.1.0.20', '10.1.0.21']);
  });

  it('has the virtual addresses of the networks of a task beside the table, one record for all tasks there', () => {
    const vip = (octet: number, backends: string[]) => ({ networkId: id(1), service: `s${octet}`, ipv4: `10.1.0.${octet}`, backends });
    const vips = [
      vip(200, ['10.1.0.21', '10.1.0.20']),
      { ...vip(201, ['10.1.0.22', '10.1.0.23']), affinity: 'client' as const },
      vip(202, []),
    ];
    const state = nodeKernel(view({ networks: [network(1)], tasks: [task(10, [1]), task(11, [1])], vips }), HOST);
    const records = [10, 11].map((n) => state.namespaces[taskNamespace(id(1000 + n))]?.vips['ip weft']);
    expect(records[0]).toEqual({ '10.1.0.200': '10.1.0.20 10.1.0.21', '10.1.0.201': 'client 10.1.0.22 10.1.0.23', '10.1.0.202': '' });
    expect(records[1]).toBe(records[0]);
    expect(state.namespaces['']?.vips['ip weft_vips']).toBe(records[0]);
  });

  it('asks about every packet of a task only what it must: no empty service, no chain for it', () => {
    const vips = [{ networkId: id(1), service: 's', ipv4: '10.1.0.200', backends: ['10.1.0.21'] }];
    const state = { networks: [network(1)], tasks: [task(10, [1])], vips };
    for (const text of [taskOf(10, state).nft['ip weft'], nodeOf(state).nft['ip weft_vips']])
      expect(text).not.toMatch(/filter hook (output|forward)/);
  });

  it('sends a bridge network’s service to the tasks of this node only', () => {
    const vips = [{ networkId: id(1), service: 's', ipv4: '10.1.0.200', backends: ['10.1.0.10', '10.1.0.20'] }];
    const networks = [network(1, { driver: 'bridge' })];
    const endpoints = [endpoint(1, 10, HOST.address), endpoint(1, 20)];
    expect(taskOf(10, { networks, endpoints, vips, tasks: [task(10, [1])] }).vips['ip weft']).toEqual({ '10.1.0.200': '10.1.0.10' });
  });

  it('takes VXLAN of members in the first rule of the first hook, and drops that of strangers in the second, for our VNIs only', () => {
    const text = nodeOf({ networks: [network(1), network(2, { driver: 'bridge' })] }).nft['inet weft'] ?? '';
    const rules = text.slice(text.indexOf('chain ')).split('\n').slice(2, 4);
    expect(rules[0]).toMatch(/^ +udp dport 4789 ip saddr @vteps notrack accept comment/);
    expect(rules[1]).toMatch(/^ +udp dport 4789 @th,96,24 \{ 4097 \} counter drop comment/);
    expect(nodeOf({}).nft['inet weft']).not.toContain('@th,96,24');
  });

  it('takes VXLAN from nodes, and guards the ports of controllers too', () => {
    const members = [...view().members, { id: 'c', name: 'c', address: '192.0.2.90', kind: 'controller' as const }];
    const text = nodeOf({ networks: [network(1)], members }).nft['inet weft'] ?? '';
    expect(text).toMatch(/set vteps \{\n\s+type ipv4_addr\n\s+size 2\n\s+elements = \{ 192\.0\.2\.1, 192\.0\.2\.2 \}/);
    expect(text).toMatch(/set members \{\n\s+type ipv4_addr\n\s+elements = \{ 192\.0\.2\.1, 192\.0\.2\.2, 192\.0\.2\.90 \}/);
    expect(text).toContain('elements = { tcp . 7702, udp . 4789, udp . 7706 }');
  });
});

describe('names', () => {
  it('fit in an interface name and are known again', () => {
    const veth = vethName('f'.repeat(64), 'a'.repeat(64));
    expect(veth).toHaveLength(13);
    for (const name of [veth, 'wfb16777215', 'wfx1']) expect(isOurLink(name)).toBe(true);
    for (const name of ['wfb', 'wfvZ', 'docker0', 'wfbx', 'eth0']) expect(isOurLink(name)).toBe(false);
    expect(isOurNamespace(taskNamespace('0123456789abcdef'))).toBe(true);
    expect(isOurNamespace('weft-dev-1')).toBe(false);
    expect(vethName('a', 'bc')).not.toBe(vethName('ab', 'c'));
  });
});
