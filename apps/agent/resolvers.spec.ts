import { ManualClock } from '#base/manual-clock.js';
import { silentLog } from '#base/log.js';
import { Resolvers } from './resolvers.js';

const endpoint = (networkId: string) => ({ networkId, ipv4: '10.1.0.2', mac: '02:42:0a:01:00:02', aliases: [] });
const task = (...networks: string[]) => ({ name: 's-web-1', endpoints: networks.map(endpoint) });

function rig() {
  const clock = new ManualClock();
  const at = { wanted: 7, told: 7, asked: 0, listening: new Map<string, boolean>(), isUp: true };
  const resolvers = new Resolvers({
    wanted: () => at.wanted,
    told: () => at.told,
    listening: async () => {
      at.asked++;
      if (!at.isUp) throw new Error('no name server');
      return at.listening;
    },
    clock,
    log: silentLog,
  });
  const begin = (...networks: string[]) => {
    const waiting = { isOver: false };
    void resolvers.answer(task(...networks)).then(() => (waiting.isOver = true));
    return waiting;
  };
  return { at, resolvers, begin, pass: (ms: number) => clock.advance(ms) };
}

describe('the resolver of a task', () => {
  it('answers when the name server knows the view and listens on each of its networks', async () => {
    const { at, begin, pass } = rig();
    at.told = 6;
    at.listening.set('a', false).set('b', true);
    const waiting = begin('a', 'b', 'without-names');
    await pass(100);
    expect(waiting.isOver).toBe(false);
    at.told = 7;
    await pass(100);
    expect(waiting.isOver).toBe(false);
    at.listening.set('a', true);
    await pass(20);
    expect(waiting.isOver).toBe(true);
  });

  it('is not asked for again where it was seen to listen, unless it began anew', async () => {
    const { at, resolvers, begin, pass } = rig();
    at.listening.set('a', true);
    for (const _ of [1, 2]) begin('a');
    await pass(20);
    begin('a');
    await pass(20);
    const asked = at.asked;
    expect(asked).toBe(1);
    resolvers.forget();
    begin('a');
    await pass(20);
    expect(at.asked).toBe(asked + 1);
  });

  it('is waited for 3 s, and not at all by a task without a network', async () => {
    const { at, begin, pass } = rig();
    at.isUp = false;
    const [waiting, alone] = [begin('a'), begin()];
    await pass(2_900);
    expect([waiting.isOver, alone.isOver]).toEqual([false, true]);
    await pass(200);
    expect(waiting.isOver).toBe(true);
  });
});
