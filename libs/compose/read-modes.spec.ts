import { parseCompose } from './parse-compose.js';
import { ComposeErrors } from './issue.js';

const parse = (text: string) => parseCompose({ text, file: 'c.yaml', env: {}, projectDirectory: '/p', projectName: 'p' }).stack;

function faults(text: string): string[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column} ${i.message}`);
    throw error;
  }
  return [];
}

const service = (...lines: string[]) =>
  ['services:', '  db:', '    image: busybox', '  web:', '    image: busybox', ...lines.map((l) => `    ${l}`)].join('\n');

describe('network_mode', () => {
  it.each([
    ['host', { kind: 'host' }],
    ['none', { kind: 'none' }],
    ['bridge', { kind: 'bridge' }],
    ['"service:db"', { kind: 'service', service: 'db' }],
    ['"container:other-api-1"', { kind: 'container', container: 'other-api-1' }],
  ])('%s', (text, mode) => {
    const web = parse(service(`network_mode: ${text}`)).services['web'];
    expect(web?.networkMode).toEqual(mode);
    expect(web?.networks).toEqual({});
  });

  it.each([
    ['an unknown word', ['network_mode: hots'], '6:19 expected bridge, host, none, service:NAME or container:NAME, found "hots"'],
    ['a service that is not there', ['network_mode: "service:nope"'], 'nope'],
    ['ports in the network of the node', ['network_mode: host', 'ports: ["8080:80"]'], 'cannot publish ports'],
    ['ports without a network', ['network_mode: none', 'ports: ["8080:80"]'], 'cannot publish ports'],
    ['links in a shared network', ['network_mode: "service:db"', 'links: ["db:x"]'], 'cannot have links'],
    ['more replicas than the owner', ['network_mode: "service:db"', 'scale: 2'], '6:19 it has 2 replicas, and shares the network of "db"'],
    ['itself', ['network_mode: "service:web"'], 'web'],
  ])('refuses %s, at its place', (_what, lines, message) => {
    expect(faults(service(...lines)).join('\n')).toContain(message);
  });

  it('refuses a circle, and the network of one that is in the network of its node', () => {
    const mode = (a: string, b: string) =>
      `services:\n  a:\n    image: x\n    network_mode: ${a}\n  b:\n    image: x\n    network_mode: ${b}\n`;
    expect(faults(mode('"service:b"', '"service:a"')).length).toBeGreaterThan(0);
    expect(faults(mode('"service:b"', 'host'))).toEqual(['4:19 the service "b" lives in the network of its node']);
  });
});

describe('links', () => {
  it('are services of the stack, and containers outside of it, under other names', () => {
    const web = parse(service('links: [db, "db:database"]', 'external_links: ["other-api-1:api"]')).services['web'];
    expect(web?.links).toEqual([
      { service: 'db', alias: 'db' },
      { service: 'db', alias: 'database' },
      { container: 'other-api-1', alias: 'api' },
    ]);
  });

  it.each([
    ['links: ["db:a b"]', 'SERVICE:ALIAS, found "db:a b"'],
    ['links: ["db:a:b"]', 'SERVICE:ALIAS, found "db:a:b"'],
    ['external_links: ["x y"]', 'CONTAINER:ALIAS, found "x y"'],
    ['links: ["nope"]', 'nope'],
  ])('refuses %s', (line, message) => {
    expect(faults(service(line)).join('\n')).toContain(message);
  });
});

describe('how a service is on a network', () => {
  const on = (...lines: string[]) =>
    [
      'networks: { front: {}, back: {} }',
      'services:',
      '  web:',
      '    image: busybox',
      '    networks:',
      '      front:',
      ...lines,
      '      back: { interface_name: lan0 }',
    ].join('\n');

  it('says names, order and the way out of interfaces', () => {
    const { networks } = parse(on('        interface_name: wan0', '        gw_priority: 10', '        priority: -5')).services['web'] ?? {};
    expect(networks).toEqual({
      front: { aliases: [], interfaceName: 'wan0', gwPriority: 10, priority: -5 },
      back: { aliases: [], interfaceName: 'lan0' },
    });
  });

  it.each([
    ['        interface_name: lo', 'every task has an interface "lo" already'],
    ['        interface_name: "a b"', 'expected a name for an interface'],
    ['        interface_name: lan0', 'the networks front and back have the same interface_name "lan0"'],
    ['        gw_priority: x', 'gw_priority'],
  ])('refuses %s', (line, message) => {
    expect(faults(on(line)).join('\n') || 'nothing').toMatch(message === 'gw_priority' ? /7:/ : new RegExp(message));
  });
});

describe('mac_address of a service', () => {
  const web = (...lines: string[]) =>
    ['networks: { front: {}, back: {} }', 'services:', '  web:', '    image: busybox', ...lines.map((l) => `    ${l}`)].join('\n');

  it('is that of its first interface', () => {
    const macs = (...lines: string[]) =>
      Object.entries(parse(web('mac_address: 02-42-AC-11-00-09', ...lines)).services['web']?.networks ?? {}).map(([k, a]) => [k, a.mac]);
    expect(macs()).toEqual([['default', '02:42:ac:11:00:09']]);
    expect(macs('networks: [front, back]')).toEqual(
      expect.arrayContaining([
        ['back', '02:42:ac:11:00:09'],
        ['front', undefined],
      ]),
    );
    expect(macs('networks: { back: {}, front: { priority: 5 } }')).toContainEqual(['front', '02:42:ac:11:00:09']);
  });

  it.each([
    ['mac_address: "02:42"', 'expected a MAC address'],
    ['mac_address: "01:00:5e:00:00:01"', 'a group address'],
    ['mac_address: "02:42:ac:11:00:09"\n    network_mode: host', 'no interface that could have'],
    ['mac_address: "02:42:ac:11:00:09"\n    deploy: { replicas: 2 }', 'can belong to one task only'],
    [
      'mac_address: "02:42:ac:11:00:09"\n    networks: { front: { mac_address: "02:42:ac:11:00:0a" } }',
      'network front of the service says',
    ],
  ])('refuses %s', (line, message) => {
    expect(faults(web(line)).join('\n')).toContain(message);
  });
});

describe('networks in the LAN of the site', () => {
  const lan = (...lines: string[]) =>
    ['networks:', '  lan:', ...lines.map((l) => `    ${l}`), 'services:', '  web: { image: busybox, networks: [lan] }'].join('\n');

  it('have a parent, a mode, and the subnet of the site', () => {
    expect(parse(lan('driver: macvlan', 'driver_opts: { parent: eth0.50, macvlan_mode: private }')).networks['lan']).toMatchObject({
      driver: 'macvlan',
      options: { parent: 'eth0.50', macvlanMode: 'private' },
    });
    expect(parse(lan('driver: ipvlan', 'driver_opts: { parent: eth1, ipvlan_mode: l3 }')).networks['lan']?.options).toEqual({
      parent: 'eth1',
      ipvlanMode: 'l3',
    });
  });

  it.each([
    [['driver: macvlan'], '2:3 the driver macvlan needs a parent'],
    [['driver: macvlan', 'driver_opts: { parent: eth0.5000 }'], '4:28 there is no VLAN 5000'],
    [['driver: macvlan', 'driver_opts: { parent: "eth0;x" }'], 'expected a device like eth0'],
    [['driver: macvlan', 'driver_opts: { parent: eth0, macvlan_mode: bridged }'], 'bridged'],
    [['driver: macvlan', 'driver_opts: { parent: eth0, ipvlan_mode: l2 }'], 'the driver macvlan has no option "ipvlan_mode"'],
    [['driver: overlay', 'driver_opts: { parent: eth0 }'], 'the driver overlay has no option "parent"'],
    [['driver: macvlam'], 'macvlam'],
  ])('refuses %j at its place', (lines, message) => {
    expect(faults(lan(...lines)).join('\n')).toContain(message);
  });
});
