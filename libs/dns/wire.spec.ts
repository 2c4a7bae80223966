import fc from 'fast-check';
import { Type } from './constants.js';
import { FormatError } from './format-error.js';
import type { Edns, RecordData, ResourceRecord } from './message.js';
import { decodeMessage, decodeQuestion, encodeMessage, encodeQuestion, type OutgoingMessage } from './wire.js';

/** A record of a type we do not read. */
const otherType = fc.integer({ min: 256, max: 60_000 });
const label = fc.uint8Array({ minLength: 1, maxLength: 20 });
/** A name as random bytes on the wire, read back: so every byte occurs in it. */
const name = fc.array(label, { maxLength: 6 }).map((labels) => {
  const wire = Uint8Array.from([...labels.flatMap((l) => [l.length, ...l]), 0, 0, 1, 0, 1]);
  return decodeQuestion(wire, 0).question.name;
});
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const asciiText = fc.string({ maxLength: 40, unit: 'grapheme-ascii' });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const data: fc.Arbitrary<RecordData> = fc.oneof(
  fc.record({ kind: fc.constant('A' as const), address: bytes(4) }),
  fc.record({ kind: fc.constant('AAAA' as const), address: bytes(16) }),
  fc.record({ kind: fc.constant('PTR' as const), target: name }),
  fc.record({ kind: fc.constant('SRV' as const), priority: u16, weight: u16, port: u16, target: name }),
  fc.record({
    kind: fc.constant('SOA' as const),
    primary: name,
    mailbox: name,
    serial: u32,
    refresh: u32,
    retry: u32,
    expire: u32,
    minimum: u32,
  }),
  fc.record({ kind: fc.constant('HINFO' as const), cpu: asciiText, os: asciiText }),
  fc.record({ kind: fc.constant('other' as const), type: otherType, bytes: fc.uint8Array({ maxLength: 30 }) }),
);
const record: fc.Arbitrary<ResourceRecord> = fc.record({ name, ttlSeconds: u32, data });
const edns: fc.Arbitrary<Edns> = fc.record({
  udpBytes: u16,
  version: fc.constant(0),
  dnssecOk: fc.boolean(),
  hasOptions: fc.constant(false),
});
const question = fc.record({ name, type: u16, class: u16 });
const flag = fc.boolean();

function outgoing(q: { name: string; type: number; class: number }): Pick<OutgoingMessage, 'question'> {
  return { question: { name: q.name, bytes: encodeQuestion(q) } };
}

const header = fc.record({
  id: u16,
  isResponse: flag,
  opcode: fc.integer({ min: 0, max: 15 }),
  authoritative: flag,
  truncated: fc.constant(false),
  recursionDesired: flag,
  recursionAvailable: flag,
  authenticData: flag,
  checkingDisabled: flag,
  rcode: fc.integer({ min: 0, max: 15 }),
});

describe('messages', () => {
  it('round-trip', () => {
    fc.assert(
      fc.property(
        header,
        question,
        fc.array(record, { maxLength: 6 }),
        fc.array(record, { maxLength: 3 }),
        fc.option(edns, { nil: undefined }),
        (h, q, answers, authorities, e) => {
          const wire = encodeMessage({ ...h, ...outgoing(q), answers, authorities, edns: e });
          expect(decodeMessage(wire)).toEqual({ ...h, questions: [q], answers, authorities, additionals: [], edns: e });
        },
      ),
    );
  });

  it('keep to their limit, and say so when answers are left off', () => {
    fc.assert(
      fc.property(
        header,
        question,
        fc.array(record, { maxLength: 30 }),
        fc.option(edns, { nil: undefined }),
        fc.integer({ min: 200, max: 1232 }),
        (h, q, answers, e, limit) => {
          const wire = encodeMessage({ ...h, ...outgoing(q), answers, authorities: [], edns: e }, limit);
          const back = decodeMessage(wire);
          expect(wire.length).toBeLessThanOrEqual(limit);
          expect(back.answers).toEqual(answers.slice(0, back.answers.length));
          expect(back.truncated).toBe(back.answers.length < answers.length);
          expect(back.edns).toEqual(e);
        },
      ),
    );
  });

  it('carry extended codes in EDNS only', () => {
    const base = { ...outgoing({ name: 'a', type: 1, class: 1 }), answers: [], authorities: [] };
    const flags = fc.sample(header, 1)[0] as OutgoingMessage;
    const e = { udpBytes: 1232, version: 0, dnssecOk: false, hasOptions: false };
    expect(decodeMessage(encodeMessage({ ...flags, ...base, rcode: 16, edns: e })).rcode).toBe(16);
  });
});

describe('random bytes', () => {
  /** Decodes, or fails in the one way there is. */
  const decodesOrFails = (input: Uint8Array): void => {
    try {
      decodeMessage(input);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  };

  it('decode or fail in one way', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), decodesOrFails), { numRuns: 2_000 });
  });

  it('so do messages with a few bytes changed, or cut short', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        question,
        fc.array(record, { maxLength: 4 }),
        fc.array(change, { maxLength: 8 }),
        fc.nat(),
        (q, answers, changes, end) => {
          const wire = encodeMessage({
            ...(fc.sample(header, 1)[0] as OutgoingMessage),
            ...outgoing(q),
            answers,
            authorities: [],
            edns: undefined,
          });
          for (const [at, value] of changes) wire[at % wire.length] = value;
          decodesOrFails(wire);
          decodesOrFails(wire.subarray(0, end % wire.length));
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('names', () => {
  const ask = (nameHex: string): Uint8Array => Uint8Array.from(Buffer.from(`000001000001000000000000${nameHex}00010001`, 'hex'));

  it.each([
    ['a pointer to itself', 'c00c'],
    ['a pointer forward', 'c010'],
    ['a pointer into the header', 'c000'],
    ['a loop over a label', '0161c00c'],
    ['an unknown kind of label', '4161'],
    ['a label past the end', '3f61'],
    ['more than 255 bytes', `${'3f' + '61'.repeat(63)}`.repeat(4) + '00'],
  ])('are refused: %s', (_what, hex) => {
    expect(() => decodeMessage(ask(hex))).toThrow(FormatError);
  });

  it('may have 255 bytes', () => {
    const longest = `${'3f' + '61'.repeat(63)}`.repeat(3) + '3d' + '61'.repeat(61) + '00';
    expect(decodeMessage(ask(longest)).questions[0]?.name).toHaveLength(253);
  });

  it('come out lower-case, with strange bytes escaped', () => {
    expect(decodeMessage(ask('0357654207612e625c00206300')).questions[0]).toEqual({
      name: 'web.a\\046b\\092\\000\\032c',
      type: Type.A,
      class: 1,
    });
  });
});
