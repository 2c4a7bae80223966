import { stackOf, World } from '#planner/spec-kit.js';
import { diagnosis, type Asked, type PairProbe } from './diagnosis.js';

const ASKED_AT = 1_000_000;
const ANSWERED_AT = ASKED_AT + 200;

describe('what `ctl network doctor` makes of what it was told', () => {
  const world = new World(['a', 'b']);
  world.up(stackOf('s', { web: 2 }));
  world.settle();
  const { model } = world;
  const [a, b] = ['a', 'b'].map((name) => {
    const node = model.nodes.get(world.nodeId(name));
    if (!node) throw new Error(`no node ${name}`);
    return node;
  }) as [PairProbe['from'], PairProbe['to']];

  const said = (at: number, checksumErrors = 0): Asked => ({
    ...{ node: a, askedAt: ASKED_AT, answeredAt: ANSWERED_AT },
    answer: { faults: [], at, checksumErrors },
  });
  const [yes, no] = [
    { ok: true, why: '', milliseconds: 1 },
    { ok: false, why: 'no answer', milliseconds: 0 },
  ];
  const probed = (parts: Partial<PairProbe>): PairProbe => ({
    ...{ from: a, to: b, mtu: 1500, underlay: yes, whole: yes, overlay: yes, network: 's_default' },
    ...parts,
  });
  const codes = (asked: Asked[], probes: PairProbe[] = []) =>
    diagnosis(model, asked, probes).findings.map(({ severity, node, code }) => `${severity} ${node}: ${code}`);

  it('takes a clock for right that says a time between question and answer, or less than a second beside it', () => {
    for (const at of [ASKED_AT, ASKED_AT + 100, ANSWERED_AT, ANSWERED_AT + 999, ASKED_AT - 999]) expect(codes([said(at)])).toEqual([]);
  });

  it('measures a wrong clock from the nearer of question and answer, and calls it broken beyond a minute', () => {
    const skew = (at: number) => diagnosis(model, [said(at)], []).findings.map(({ severity, what }) => `${severity}: ${what}`);
    expect(skew(ANSWERED_AT + 5_000)).toEqual(["risk: its clock is 5000 ms ahead of the controller's"]);
    expect(skew(ASKED_AT - 5_000)).toEqual(["risk: its clock is 5000 ms behind the controller's"]);
    expect(skew(ASKED_AT - 60_001)).toEqual(["broken: its clock is 60001 ms behind the controller's"]);
  });

  it('tells of packets with a wrong checksum, and of an agent that does not answer', () => {
    expect(codes([said(ASKED_AT, 7)])).toEqual(['risk a: checksum']);
    expect(diagnosis(model, [said(ASKED_AT, 7)], []).findings[0]?.remedy).toContain('ethtool -K');
    const { findings } = diagnosis(model, [{ node: b, error: 'refused', askedAt: ASKED_AT, answeredAt: ANSWERED_AT }], []);
    expect(findings).toEqual([expect.objectContaining({ severity: 'broken', node: 'b', code: 'agent-silent' })]);
  });

  it('names of a way between nodes the first thing that is wrong: the underlay, the size of packets, the tunnels', () => {
    const of = (parts: Partial<PairProbe>) => codes([], [probed(parts)]);
    expect(of({})).toEqual([]);
    expect(of({ underlay: no, whole: undefined, overlay: no })).toEqual(['broken a → b: unreachable']);
    // Hosts that answer no ping, but whose tunnels carry.
    expect(of({ underlay: no, whole: undefined })).toEqual([]);
    expect(of({ whole: no, overlay: no })).toEqual(['broken a → b: path-mtu']);
    expect(of({ overlay: no })).toEqual(['broken a → b: vxlan']);
    expect(diagnosis(model, [], [probed({ overlay: undefined, network: undefined })]).checked[1]).toContain(
      '0 of them through VXLAN (the others share no network)',
    );
  });

  it('ranks: what is broken, what may break, what to know; each with a remedy', () => {
    world.setFacts('b', { driftRepairs: 3, repairs: [{ at: 1, what: 'route x was missing' }] });
    const { findings } = diagnosis(model, [{ ...said(ASKED_AT, 1), node: b }], [probed({ overlay: no })]);
    expect(findings.map((f) => f.code)).toEqual(['vxlan', 'checksum', 'drift']);
    expect(findings.map((f) => f.severity)).toEqual(['broken', 'risk', 'note']);
    expect(findings[2]?.what).toContain('3 kernel objects were put back since the agent started; the last: route x was missing');
    expect(findings.filter((f) => f.remedy === '')).toEqual([]);
  });

  it('says which nodes it did not look at', () => {
    world.setNodeState('b', 'down');
    expect(codes([])).toEqual(['broken b: node-down']);
  });
});
