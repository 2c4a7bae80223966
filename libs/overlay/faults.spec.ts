import { describeFault, faultsBetween } from './faults.js';
import { emptyNamespace, type KernelState } from './kernel-state.js';

const route = { table: 'main', destination: '10.1.0.0/24', dev: 'wfb1' };
const row = { dev: 'wfx1', mac: '02:42:0a:01:00:05', vtep: '192.0.2.2' };
const desired: KernelState = {
  namespaces: {
    '': {
      ...emptyNamespace(),
      links: {
        wfb1: { kind: 'bridge', up: true, mac: '02:42:0a:01:00:fb', mtu: 1450 },
        wfx1: { kind: 'vxlan', up: true, vni: 1, port: 4789, local: '192.0.2.1', mtu: 1450, bridge: 'wfb1', suppress: true },
        wfv1: { kind: 'veth', up: true, mtu: 1450, bridge: 'wfb1', hairpin: false, peerNamespace: 'weft-1', peerName: 'eth0' },
      },
      routes: { 'main 10.1.0.0/24': route },
      fdb: { 'wfx1 02:42:0a:01:00:05 vxlan': row },
      sysctls: { 'net.ipv4.conf.wfb1.rp_filter': '0', 'net.ipv4.ip_forward': '1' },
      nft: { 'ip weft_vips': 'text', 'bridge weft': 'guard' },
      elements: { 'bridge weft': { own: ['"wfv1" . 02:42:0a:01:00:07 . 10.1.0.7'] } },
      vips: { 'ip weft_vips': { '10.1.0.200': '10.1.0.5' } },
    },
    'weft-1': { ...emptyNamespace(), links: { eth0: { kind: 'task', up: true, mac: '02:42:0a:01:00:07', mtu: 1450 } } },
  },
};

const wrong = (change: (observed: KernelState) => void): string[] => {
  const observed = structuredClone(desired);
  change(observed);
  return faultsBetween(desired, observed).map((f) => describeFault(f));
};
const node = (state: KernelState) => state.namespaces[''] ?? emptyNamespace();

describe('what is wrong with a kernel', () => {
  it('is nothing where it is as it should be', () => expect(wrong(() => undefined)).toEqual([]));

  it.each<[string, (state: KernelState) => void, string[]]>([
    ['a route', (s) => delete node(s).routes['main 10.1.0.0/24'], ['route 10.1.0.0/24 dev wfb1 was missing']],
    [
      'another tunnel end',
      (s) => (node(s).fdb['wfx1 02:42:0a:01:00:05 vxlan'] = { ...row, vtep: '192.0.2.9' }),
      ['fdb 02:42:0a:01:00:05 on wfx1 at 192.0.2.2 was changed: vtep 192.0.2.9 and not 192.0.2.2'],
    ],
    ['a sysctl', (s) => (node(s).sysctls['net.ipv4.ip_forward'] = '0'), ['sysctl net.ipv4.ip_forward = 1 was changed: it is 0']],
    [
      'a table',
      (s) => (node(s).nft['ip weft_vips'] = '#'),
      ['nft table ip weft_vips was changed: its rules or sets are not those that were loaded'],
    ],
    [
      'a virtual address',
      (s) => (node(s).vips['ip weft_vips'] = {}),
      ['virtual address 10.1.0.200 (10.1.0.5) of ip weft_vips was missing'],
    ],
    [
      'who a port may speak as',
      (s) => (node(s).elements['bridge weft'] = { own: ['"wfv1" . 02:42:0a:01:00:07 . 10.1.0.9'] }),
      [
        '"wfv1" . 02:42:0a:01:00:07 . 10.1.0.7 of set own of nft table bridge weft was missing',
        '"wfv1" . 02:42:0a:01:00:07 . 10.1.0.9 of set own of nft table bridge weft was there and should not be',
      ],
    ],
    [
      'something too much',
      (s) => (node(s).routes['main 9.9.9.0/24'] = { ...route, destination: '9.9.9.0/24' }),
      ['route 9.9.9.0/24 dev wfb1 was there and should not be'],
    ],
    ['a namespace', (s) => delete s.namespaces['weft-1'], ['namespace weft-1 was missing']],
  ])('%s', (_, change, expected) => expect(wrong(change)).toEqual(expected));

  it('is one thing where a bridge is gone, whatever went with it', () => {
    const said = wrong((s) => {
      const { wfx1, wfv1 } = node(s).links;
      node(s).links = { wfx1: { ...wfx1, bridge: '' } as never, wfv1: { ...wfv1, bridge: '' } as never };
      node(s).routes = {};
      delete node(s).sysctls['net.ipv4.conf.wfb1.rp_filter'];
    });
    expect(said).toEqual(['bridge wfb1 (02:42:0a:01:00:fb, mtu 1450) was missing']);
  });

  it('is one thing where a wire is gone at both ends', () => {
    const said = wrong((s) => {
      delete node(s).links['wfv1'];
      s.namespaces['weft-1'] = emptyNamespace();
    });
    expect(said).toEqual([expect.stringMatching(/^veth wfv1 .* was missing$/)]);
  });
});
