import fc from 'fast-check';
import { applyOperation } from './apply.js';
import { diff } from './diff.js';
import type { KernelState } from './kernel-state.js';
import { emptyKernel, emptyNamespace } from './kernel-state.js';
import { DEVICE_TABLE, PORT_GUARD_TABLE } from './names.js';
import { nodeKernel } from './node-kernel.js';
import { describe as describeOperation } from './operation.js';
import { portGuardElements, portGuardTable } from './port-guard.js';
import { arbitraryView, HOST } from '../../test/fixtures/netns-small-views.js';

function applied(from: KernelState, to: KernelState): KernelState {
  const state = structuredClone(from);
  for (const operation of diff(to, from)) applyOperation(state, operation);
  return state;
}

const filled = (vips: KernelState['namespaces'][string]['vips']) =>
  Object.fromEntries(Object.entries(vips).filter(([, record]) => Object.keys(record).length > 0));

/** Sysctls stay when they are no longer asked for, and a wish says nothing of flows to come: leave both out. */
const comparable = (state: KernelState) =>
  Object.fromEntries(
    Object.entries(state.namespaces).map(([ns, s]) => [ns, { ...s, sysctls: {}, flows: [], doors: [], vips: filled(s.vips) }]),
  );

/** A kernel with one table of virtual addresses in a task's namespace. */
function balancing(record: Record<string, string>, text = 'text'): KernelState {
  const ns = { ...emptyNamespace(), nft: { 'ip weft': text }, vips: { 'ip weft': record } };
  return { namespaces: { '': emptyNamespace(), 'weft-aaaaaaaaaaaa': ns } };
}

describe('diff', () => {
  it('leads from any state to any other, each step possible when it comes', () => {
    fc.assert(
      fc.property(arbitraryView, arbitraryView, (a, b) => {
        const [from, to] = [nodeKernel(a, HOST), nodeKernel(b, HOST)];
        const state = applied(applied(emptyKernel(), from), to);
        expect(comparable(state)).toEqual(comparable(to));
        expect(diff(to, state)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('has nothing to do where nothing differs', () => {
    fc.assert(
      fc.property(arbitraryView, (view) => {
        expect(diff(nodeKernel(view, HOST), nodeKernel(structuredClone(view), HOST))).toEqual([]);
      }),
    );
  });

  it('comes back from nothing to nothing: all of ours goes', () => {
    fc.assert(
      fc.property(arbitraryView, (view) => {
        const state = applied(applied(emptyKernel(), nodeKernel(view, HOST)), { namespaces: {} });
        expect(comparable(state)).toEqual(comparable(emptyKernel()));
      }),
    );
  });

  it('loads nft tables before any device comes up, and takes them away after the last is gone', () => {
    fc.assert(
      fc.property(arbitraryView, arbitraryView, (a, b) => {
        const order = diff(nodeKernel(b, HOST), nodeKernel(a, HOST)).flatMap((o) =>
          'table' in o && o.table === DEVICE_TABLE ? [] : [o.op],
        );
        // One table hangs on devices, and comes after them.
        const tables = order.flatMap((op, i) => (op === 'putTable' || op === 'removeTable' || op === 'setElements' ? [i] : []));
        expect(Math.min(Infinity, ...order.flatMap((op, i) => (op === 'addLink' ? [i] : [])))).toBeGreaterThan(Math.max(-1, ...tables));
        expect(Math.max(-1, ...order.flatMap((op, i) => (op === 'removeLink' ? [i] : [])))).toBeLessThan(Math.min(Infinity, ...tables));
      }),
    );
  });

  it('changes a virtual address alone, and forgets datagrams that went to a backend that is gone, or untranslated', () => {
    const before = { '10.1.0.200': '10.1.0.20 10.1.0.21', '10.1.0.201': '10.1.0.22' };
    const after = { '10.1.0.200': '10.1.0.20', '10.1.0.201': '10.1.0.22', '10.1.0.202': '' };
    expect(diff(balancing(after), balancing(before)).map(describeOperation)).toEqual([
      'set 2 virtual addresses of ip weft in weft-aaaaaaaaaaaa',
      'forget tracked UDP flows to backend 10.1.0.21 in weft-aaaaaaaaaaaa',
      'forget tracked UDP flows to vip 10.1.0.202 in weft-aaaaaaaaaaaa',
    ]);
    // A table that is put anew is empty; what was sent before is as stale as ever.
    expect(diff(balancing(after, 'other'), balancing(before)).map(describeOperation)).toEqual([
      'load nft table ip weft (1 lines) in weft-aaaaaaaaaaaa',
      'set 3 virtual addresses of ip weft in weft-aaaaaaaaaaaa',
      'forget tracked UDP flows to backend 10.1.0.21 in weft-aaaaaaaaaaaa',
      'forget tracked UDP flows to vip 10.1.0.202 in weft-aaaaaaaaaaaa',
    ]);
  });

  it('tells the port guard of a task more or less by an element, and loads no table for it', () => {
    const port = (n: number) => ({ veth: `wfv000000000${n}`, mac: `02:42:0a:01:00:0${n}`, ipv4: `10.1.0.${n}` });
    const guarding = (...ports: number[]): KernelState => ({
      namespaces: {
        '': {
          ...emptyNamespace(),
          nft: { [PORT_GUARD_TABLE]: portGuardTable(ports.map(port)) },
          elements: { [PORT_GUARD_TABLE]: portGuardElements(ports.map(port)) },
        },
      },
    });
    expect(diff(guarding(1, 3), guarding(1, 2)).map(describeOperation)).toEqual([
      'remove "wfv0000000002" . 02:42:0a:01:00:02 . 10.1.0.2 and add "wfv0000000003" . 02:42:0a:01:00:03 . 10.1.0.3 of set own of bridge weft',
    ]);
    // A table that is loaded anew has nothing in its sets.
    const other = guarding(1, 2);
    (other.namespaces[''] as { nft: object }).nft = { [PORT_GUARD_TABLE]: 'other' };
    expect(diff(guarding(1, 2), other).map(describeOperation)).toEqual([
      expect.stringMatching(/^load nft table bridge weft/),
      'add 2 elements of set own of bridge weft',
    ]);
  });

  it('makes the port guard anew where more tasks come than it has place for', () => {
    const ports = Array.from({ length: 1025 }, (_, i) => ({ veth: `wfv${i}`, mac: '02:42:0a:01:00:01', ipv4: '10.1.0.1' }));
    expect(portGuardTable(ports.slice(1))).toContain('size 1024');
    expect(portGuardTable(ports)).toContain('size 2048');
  });

  it('makes a wire anew when its namespace is another one', () => {
    const wish = emptyKernel();
    const veth = {
      kind: 'veth',
      up: true,
      mtu: 1450,
      bridge: 'wfb1',
      hairpin: false,
      peerNamespace: 'weft-aaaaaaaaaaaa',
      peerName: 'eth0',
    } as const;
    wish.namespaces[''] = {
      ...emptyNamespace(),
      links: { wfb1: { kind: 'bridge', up: true, mac: '02:42:00:00:00:01', mtu: 1450 }, wfvaaaaaaaaaa: veth },
    };
    wish.namespaces['weft-aaaaaaaaaaaa'] = {
      ...emptyNamespace(),
      links: { eth0: { kind: 'task', up: true, mac: '02:42:00:00:00:02', mtu: 1450 } },
    };
    const seen = structuredClone(wish);
    delete seen.namespaces['weft-aaaaaaaaaaaa'];
    (seen.namespaces[''] as { links: object }).links = {
      ...seen.namespaces['']?.links,
      wfvaaaaaaaaaa: { ...veth, peerNamespace: '', peerName: '' },
    };
    expect(diff(wish, seen).map(describeOperation)).toEqual([
      'remove link wfvaaaaaaaaaa',
      'add namespace weft-aaaaaaaaaaaa',
      'add veth wfvaaaaaaaaaa (to eth0 of weft-aaaaaaaaaaaa, mtu 1450, on wfb1)',
      'set interface eth0 (02:42:00:00:00:02, mtu 1450) in weft-aaaaaaaaaaaa',
    ]);
  });
});
