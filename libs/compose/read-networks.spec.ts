import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

const parse = (text: string) => parseCompose({ text, file: 'stack.yaml', projectName: 'shop', projectDirectory: '/srv/shop' }).stack;

const issuesOf = (text: string): [string, string][] => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => [`${i.line}:${i.column}`, i.message]);
    throw error;
  }
  return [];
};

/** Networks first, then the services: `web` on `n` with what is given. */
const file = (network: string, attachment = '', more = '') =>
  `networks:\n  n: ${network}\nservices:\n  web:\n    image: i\n    networks: { n: ${attachment} }\n${more}`;

describe('a network of the file', () => {
  it('has subnets of both families with all their parts, in one spelling', () => {
    const ipam =
      '{ driver: default, config: [{ subnet: 10.1.0.0/24, gateway: 10.1.0.254, ip_range: 10.1.0.128/25, aux_addresses: { nas: 10.1.0.9 } }, ' +
      '{ subnet: 10.2.0.0/24 }, { subnet: "FD00:1:0::/64", gateway: "fd00:1::F" }] }';
    const { networks, services } = parse(
      file(
        `{ enable_ipv6: true, enable_ipv4: true, attachable: true, ipam: ${ipam}, driver_opts: { com.docker.network.driver.mtu: "1400", ipv6_routed: "true" } }`,
        '{ ipv4_address: 10.2.0.7, ipv6_address: "fd00:1:0:0::7", mac_address: 02-42-AC-11-00-09 }',
      ),
    );
    expect(networks['n']).toMatchObject({
      ipv6: true,
      attachable: true,
      subnet: '10.1.0.0/24',
      ipam: [
        { subnet: '10.1.0.0/24', gateway: '10.1.0.254', ipRange: '10.1.0.128/25', auxAddresses: { nas: '10.1.0.9' } },
        { subnet: '10.2.0.0/24' },
        { subnet: 'fd00:1::/64', gateway: 'fd00:1::f' },
      ],
      options: { mtu: 1400, ipv6Routed: true },
    });
    expect(services['web']?.networks['n']).toEqual({ aliases: [], ipv4: '10.2.0.7', ipv6: 'fd00:1::7', mac: '02:42:ac:11:00:09' });
  });

  it('is encrypted if it is an overlay that says so', () => {
    expect(parse(file('{ driver_opts: { encrypted: "" } }')).networks['n']?.options).toEqual({ encrypted: true });
    expect(parse(file('{ driver: overlay, driver_opts: { encrypted: "true" } }')).networks['n']?.options).toEqual({ encrypted: true });
    expect(() => parse(file('{ driver: bridge, driver_opts: { encrypted: "true" } }'))).toThrow(
      /the driver bridge has no option "encrypted"/,
    );
  });

  it('floods multicast if it is an overlay that says so', () => {
    expect(parse(file('{ driver_opts: { multicast: "true" } }')).networks['n']?.options).toEqual({ multicast: true });
    expect(parse(file('{ driver_opts: { multicast: "false" } }')).networks['n']?.options).toEqual({ multicast: false });
    expect(() => parse(file('{ driver_opts: { multicast: "some" } }'))).toThrow(/expected true or false/);
  });

  it('is as before where nothing is said', () => {
    expect(parse(file('{}')).networks['n']).toEqual({ key: 'n', name: 'shop_n', driver: 'overlay', internal: false, labels: {} });
    expect(parse(file('{ ipam: { config: [{ subnet: 10.1.0.0/24 }] } }')).networks['n']).toMatchObject({ subnet: '10.1.0.0/24' });
  });

  it('may be made elsewhere, and is called by its own name then', () => {
    expect(parse(file('{ external: true }')).networks['n']).toMatchObject({ name: 'n', external: true });
    expect(parse(file('{ external: true, name: other_front }', '{ ipv4_address: 10.9.0.9 }')).networks['n']).toMatchObject({
      name: 'other_front',
      external: true,
    });
  });

  const config = (pool: string) => `{ ipam: { config: [{ ${pool} }] } }`;
  it.each<[string, string, string]>([
    [config('subnet: 10.1.0.0/33'), '2:35', 'expected a subnet like 10.1.0.0/24'],
    [config('subnet: 10.1.0.0/30'), '2:35', '/29 or larger'],
    [config('subnet: 127.0.0.0/24'), '2:35', 'loopback'],
    [config('subnet: 10.1.0.0/24, gateway: 10.2.0.1'), '2:57', 'the gateway 10.2.0.1 is not in the subnet 10.1.0.0/24'],
    [config('subnet: 10.1.0.0/24, gateway: x'), '2:57', 'expected an address like 10.1.0.7'],
    [config('subnet: 10.1.0.0/24, ip_range: 10.2.0.0/25'), '2:58', 'not inside the subnet'],
    [config('subnet: 10.1.0.0/24, aux_addresses: { a: 10.1.0.7, b: 10.1.0.7 }'), '2:81', 'already that of a'],
    [config('subnet: 10.1.0.0/24, aux_addresses: { a: 10.9.0.7 }'), '2:68', 'not in the subnet'],
    [config('gateway: 10.1.0.1'), '2:27', 'the subnet that this belongs to is missing'],
    ['{ ipam: { config: [{ subnet: 10.1.0.0/24 }, { subnet: 10.1.0.128/25 }] } }', '2:60', 'overlaps 10.1.0.0/24 of the same network'],
    ['{ enable_ipv6: true, ipam: { config: [{ subnet: "fd00::/64" }, { subnet: "fd01::/64" }] } }', '2:79', 'one IPv6 subnet'],
    ['{ ipam: { driver: cloud } }', '2:24', 'expected "default"'],
    ['{ ipam: { options: { a: b } } }', '2:16', 'Weft refuses this key'],
    ['{ enable_ipv4: false }', '2:21', 'every network has IPv4'],
    ['{ driver: weave }', '2:16', 'expected one of overlay, bridge'],
    ['{ driver_opts: { mtu: 100 } }', '2:28', 'a whole number from 576 to 65535'],
    ['{ driver_opts: { mut: 1400 } }', '2:23', '"mut" is not an option of the driver overlay'],
    ['{ driver_opts: { macvlan_mode: bridge } }', '2:23', 'the driver overlay has no option "macvlan_mode"'],
    ['{ driver_opts: { com.docker.network.bridge.name: br0 } }', '2:23', 'Weft refuses the option'],
    ['{ driver: bridge, driver_opts: { multicast: "true" } }', '2:39', 'the driver bridge has no option "multicast"'],
    ['{ external: true, driver: bridge }', '2:24', 'it is made elsewhere'],
  ])('%s is refused', (network, place, message) => {
    expect(issuesOf(file(network))).toContainEqual([place, expect.stringContaining(message)]);
  });
});

describe('an address of a service', () => {
  const net = '{ ipam: { config: [{ subnet: 10.1.0.0/24, aux_addresses: { nas: 10.1.0.9 } }] } }';
  it.each<[string, string, string, string]>([
    ['{ ipv4_address: 10.2.0.7 }', '', '6:36', '10.2.0.7 is not in 10.1.0.0/24 of network n'],
    ['{ ipv4_address: 10.1.0.1 }', '', '6:36', '10.1.0.1 is the gateway'],
    ['{ ipv4_address: 10.1.0.255 }', '', '6:36', 'the network or broadcast address'],
    ['{ ipv4_address: 10.1.0.9 }', '', '6:36', 'kept for nas'],
    ['{ ipv4_address: "fd00::1" }', '', '6:36', 'expected an IPv4 address'],
    ['{ ipv6_address: "fd00::7" }', '', '6:36', 'the network n has no IPv6'],
    ['{ mac_address: "01:00:5e:00:00:01" }', '', '6:35', 'a group address'],
    ['{ mac_address: "02:42" }', '', '6:35', 'expected a MAC address'],
    ['{ ipv4_address: 10.1.0.7 }', '    scale: 2\n', '6:36', '10.1.0.7 can belong to one task only, and the service has 2 replicas'],
    ['{ link_local_ips: [169.254.1.1] }', '', '6:22', 'Weft refuses this key'],
    ['{ aliases: [db.example] }', '', '6:32', 'expected a name of one label'],
    ['{ aliases: ["a\\nb"] }', '', '6:32', 'expected a name of one label'],
    [
      '{ ipv4_address: 10.1.0.7 }',
      '  db:\n    image: i\n    networks: { n: { ipv4_address: 10.1.0.7 } }\n',
      '9:36',
      '10.1.0.7 is already that of services.web.networks.n.ipv4_address at stack.yaml:6:36',
    ],
  ])('%s is refused: %s', (attachment, more, place, message) => {
    expect(issuesOf(file(net, attachment, more))).toContainEqual([place, expect.stringContaining(message)]);
  });

  it('needs a subnet that is known', () => {
    expect(issuesOf(file('{}', '{ ipv4_address: 10.1.0.7 }'))).toEqual([
      ['6:36', 'the subnet of network n is not known before it is made'],
    ]);
  });
});
