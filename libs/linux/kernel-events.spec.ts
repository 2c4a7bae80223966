import { emptyNamespace, type KernelState } from '#overlay/kernel-state.js';
import { ipEvent, isLossOf, NftEvents } from './kernel-events.js';
import { isMiss } from './monitor-process.js';

/** As iproute2 6.1 prints them. */
describe('lines of ip monitor', () => {
  it.each([
    ['[nsid current]Deleted 10.1.0.0/24 dev wfb4097 proto 119 scope link ', 'route', ['10.1.0.0/24'], true],
    ['[nsid current]Deleted 10.1.0.5 dev wfb4097 FAILED ', 'neighbour', ['wfb4097', '10.1.0.5'], true],
    ['[nsid current]10.1.0.5 dev wfb4097 FAILED ', 'neighbour', ['wfb4097', '10.1.0.5'], true],
    ['[nsid current]10.1.0.5 dev wfb4097 lladdr 02:42:0a:01:00:05 PERMANENT ', 'neighbour', ['wfb4097', '10.1.0.5'], false],
    [
      '[nsid current]Deleted 192.0.2.2 dev wfx4097 lladdr 02:42:0a:01:00:05 NOARP PERMANENT ',
      'fdb',
      ['wfx4097', '02:42:0a:01:00:05'],
      true,
    ],
    ['[nsid current]Deleted dev wfx4097 lladdr 02:42:0a:01:00:05 NOARP ', 'fdb', ['wfx4097', '02:42:0a:01:00:05'], true],
    ['[nsid current]Deleted 4: wfv0123456789@NONE: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN ', 'link', ['wfv0123456789'], true],
    [
      '[nsid current]Deleted 2: wfb4097    inet 10.1.0.1/24 scope global noprefixroute wfb4097',
      'address',
      ['wfb4097', '10.1.0.1/24'],
      true,
    ],
    ['[nsid current]Deleted 1000:	from 10.1.0.9 lookup 100 proto 119', 'rule', ['1000'], true],
  ] as const)('%s', (line, kind, words, isLoss) => {
    expect(ipEvent(line)).toMatchObject({ kind, words, isLoss, isNode: true, isForeign: false });
  });

  it.each([
    ['a foreign link', '[nsid current]Deleted 2: docker0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN'],
    ['a learnt neighbour', '[nsid current]10.1.0.9 dev wfb4097 lladdr 02:42:0a:01:00:09 REACHABLE '],
    ['the kernel’s route', '[nsid current]Deleted broadcast 10.1.0.255 dev wfb4097 table local proto kernel scope link src 10.1.0.1 '],
    ['a line that goes on', '    link/ether b6:0d:6d:b1:fc:6f brd ff:ff:ff:ff:ff:ff'],
    ['a link-local address', '[nsid current]2: wfb4097    inet6 fe80::1c19:e7ff:fe05:eb51/64 scope link tentative '],
    ['a neighbour of a task', '[nsid 3]Deleted 10.1.0.1 dev wfb4097 lladdr 02:42:0a:01:00:09 STALE '],
  ])('leaves out %s', (_, line) => expect(ipEvent(line)).toBeUndefined());

  it('does not trust names of devices of another namespace', () =>
    expect(ipEvent('[nsid 0]Deleted 2: docker0    inet 10.1.0.9/24 scope global eth0')).toMatchObject({ isNode: false, kind: 'address' }));
});

describe('lines of nft monitor', () => {
  const events = (lines: string[], own: number[] = []) => {
    const nft = new NftEvents((pid) => own.includes(pid));
    return lines.flatMap((line) => nft.take(line) ?? []);
  };
  const change = ['delete element inet weft s { 1.2.3.4 }', 'add rule inet weft a accept', '# new generation 6 by process 77 (nft)'];

  it('tells of others’ changes to our tables, once a transaction', () =>
    expect(events(change)).toEqual([expect.objectContaining({ kind: 'nft', isForeign: true, isLoss: true })]));
  it('is silent about our own', () => expect(events(change, [77])).toEqual([]));
  it('tells when news was lost', () =>
    expect(events(['# ERROR: We lost some netlink events!'])).toEqual([expect.objectContaining({ isForeign: true })]));
  it('takes a complaint for a loss of news, and a warning for none', () => {
    expect(isMiss('netlink receive error No buffer space available (105)')).toBe(true);
    expect(isMiss('W: Received event for an unknown set.')).toBe(false);
    expect(isMiss('')).toBe(false);
  });
  it('is silent about tables of others', () =>
    expect(events(['add rule inet other a accept', '# new generation 7 by process 78 (nft)'])).toEqual([]));
});

describe('the loss of what should be there', () => {
  const desired: KernelState = {
    namespaces: {
      '': {
        ...emptyNamespace(),
        routes: { 'main 10.1.0.0/24': { table: 'main', destination: '10.1.0.0/24', dev: 'wfb4097' } },
        links: { wfb4097: { kind: 'bridge', up: true, mac: '02:42:0a:01:00:fb', mtu: 1450 } },
      },
      'weft-1': {
        ...emptyNamespace(),
        routes: { 'main default': { table: 'main', destination: 'default', dev: 'eth0' } },
        addresses: { 'eth0 10.1.0.9/24': { dev: 'eth0', address: '10.1.0.9/24' } },
      },
    },
  };
  const lost = (line: string) => {
    const event = ipEvent(line);
    return event !== undefined && isLossOf(event, desired);
  };

  it('is told from the end of what should go', () => {
    expect(lost('[nsid current]Deleted 10.1.0.0/24 dev wfb4097 proto 119 scope link ')).toBe(true);
    expect(lost('[nsid current]Deleted 10.2.0.0/24 dev wfb4098 proto 119 scope link ')).toBe(false);
    expect(lost('[nsid current]10.1.0.0/24 dev wfb4097 proto 119 scope link ')).toBe(false);
    expect(lost('[nsid current]Deleted 2: wfb4097: <BROADCAST> mtu 1500 qdisc noop state DOWN')).toBe(true);
    expect(lost('[nsid 4]Deleted 2: eth0: <BROADCAST> mtu 1500 qdisc noop state DOWN')).toBe(false);
  });

  it('is told of what a task should have, too, whatever the device is called where the monitor looks it up', () => {
    expect(lost('[nsid 4]Deleted default dev lo proto 119 scope link ')).toBe(true);
    expect(lost('[nsid 4]Deleted default via fd00::1 dev eth0 proto 119 metric 1024 pref medium')).toBe(false);
    expect(lost('[nsid 4]Deleted 10.3.0.0/24 dev lo proto 119 scope link ')).toBe(false);
    expect(lost('[nsid 4]Deleted 2: docker0    inet 10.1.0.9/24 scope global eth0')).toBe(true);
    expect(lost('[nsid 4]Deleted 2: docker0    inet 10.1.0.8/24 scope global eth0')).toBe(false);
    expect(lost('[nsid current]Deleted default dev wfb4097 proto 119 scope link ')).toBe(false);
  });
});
