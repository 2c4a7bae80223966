import fc from 'fast-check';
import { Rcode } from './constants.js';
import type { ResourceRecord } from './message.js';
import { aged, lifetimeOf } from './outside-answer.js';
import { decodeMessage, encodeMessage, encodeQuestion, type OutgoingMessage } from './wire.js';

const QUESTION = { name: 'example.com', type: 1, class: 1 };
const a = (ttlSeconds: number): ResourceRecord => ({
  name: 'example.com',
  ttlSeconds,
  data: { kind: 'A', address: Uint8Array.of(192, 0, 2, 1) },
});
const soa = (ttlSeconds: number, minimum: number): ResourceRecord => ({
  name: 'com',
  ttlSeconds,
  data: { kind: 'SOA', primary: 'ns', mailbox: 'hostmaster', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
});

function answer(more: Partial<OutgoingMessage>): Uint8Array {
  return encodeMessage({
    id: 1,
    isResponse: true,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: true,
    authenticData: false,
    checkingDisabled: false,
    rcode: Rcode.NOERROR,
    question: { bytes: encodeQuestion(QUESTION), name: QUESTION.name },
    answers: [],
    authorities: [],
    edns: { udpBytes: 1232, version: 0, dnssecOk: true, hasOptions: false },
    ...more,
  });
}

describe('an answer from outside', () => {
  it.each([
    ['its shortest record', answer({ answers: [a(300), a(60)] }), 60],
    ['an hour at most', answer({ answers: [a(1_000_000)] }), 3600],
    ['not at all if it says so', answer({ answers: [a(0)] }), 0],
    ['the minimum of its SOA record, if it is negative', answer({ authorities: [soa(200, 30)] }), 30],
    ['the life of its SOA record, if that is shorter', answer({ rcode: Rcode.NXDOMAIN, authorities: [soa(20, 30)] }), 20],
    ['five minutes at most, if it is negative', answer({ rcode: Rcode.NXDOMAIN, authorities: [soa(86_400, 86_400)] }), 300],
    ['not at all, if it is negative without SOA record', answer({ rcode: Rcode.NXDOMAIN }), 0],
    ['not at all, if it is a failure', answer({ rcode: Rcode.SERVFAIL, answers: [a(60)] }), 0],
    ['not at all, if it was cut short', answer({ truncated: true, answers: [a(60)] }), 0],
    ['not at all, if it cannot be read', Uint8Array.of(1, 2, 3), 0],
  ])('is kept for %s', (_what, bytes, seconds) => {
    expect(lifetimeOf(bytes)).toBe(seconds);
  });

  it('grows older, but OPT, which has no life', () => {
    const older = decodeMessage(aged(answer({ answers: [a(60), a(300)], authorities: [soa(10, 5)] }), 20));
    expect([...older.answers, ...older.authorities].map((r) => r.ttlSeconds)).toEqual([40, 280, 0]);
    expect(older.edns).toMatchObject({ dnssecOk: true, udpBytes: 1232 });
  });

  it('whatever its bytes, has a life and can be aged if it has one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(10_000), (noise, seconds) => {
        for (const bytes of [noise, Uint8Array.from([...answer({ answers: [a(60)] }).subarray(0, 30), ...noise])]) {
          if (lifetimeOf(bytes) > 0) expect(aged(bytes, seconds)).toHaveLength(bytes.length);
        }
      }),
    );
  });
});
