import fc from 'fast-check';
import { MAX_UDP_BYTES, PLAIN_UDP_BYTES, Rcode, Type } from './constants.js';
import { EXAMPLE, STRANGER, VAULT, WEB } from './example-zone.js';
import {
  encodeOutsideQuery,
  failureReply,
  isAnswerTo,
  relayReply,
  respond,
  type OutsideQuestion,
  type Response,
  type Transport,
} from './respond.js';
import { decodeMessage, encodeMessage, encodeQuestion } from './wire.js';
import { buildZone } from './zone.js';

const zone = buildZone(EXAMPLE);
const fromHex = (...parts: string[]): Uint8Array => Uint8Array.from(Buffer.from(parts.join('').replaceAll(' ', ''), 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const respondTo = (client: string, request: Uint8Array, transport: Transport = 'udp', turn = 0): Response =>
  respond(zone.views.get(client), request, transport, turn);

function replyTo(client: string, request: Uint8Array, transport: Transport = 'udp', turn = 0): Uint8Array {
  const response = respondTo(client, request, transport, turn);
  return response.kind === 'reply' ? response.bytes : new Uint8Array(0);
}

function query(name: string, type: number, edns?: { udpBytes: number }): Uint8Array {
  return encodeOutsideQuery(
    {
      question: encodeQuestion({ name, type, class: 1 }),
      recursionDesired: true,
      authenticData: false,
      checkingDisabled: false,
      edns: edns && { ...edns, dnssecOk: false },
      limitBytes: 0,
    },
    0x1234,
  );
}

const ASKED = '1234 0100 0001 0000 0000 0000';
const WEB_A = '03 776562 00 0001 0001';
const WEB_AAAA = '03 776562 00 001c 0001';
/** Root, SOA, IN, 5 s: weft. hostmaster.<pointer>, serial, refresh, retry, expire, minimum. */
const soa = (pointer: string): string =>
  `00 0006 0001 00000005 0027 04 77656674 00 0a 686f73746d6173746572 ${pointer} 00000001 00000e10 00000258 00015180 00000005`;

describe('replies, byte for byte', () => {
  it.each([
    [
      'A, in the case it was asked in',
      WEB,
      [ASKED, '03 774562 00 0001 0001'],
      ['1234 8580 0001 0001 0000 0000', '03 774562 00 0001 0001', 'c00c 0001 0001 00000005 0004 0a0100c8'],
    ],
    [
      'SRV with the address of its target behind it, which is written out (RFC 2782)',
      WEB,
      [ASKED, '05 5f68747470 04 5f746370 03 776562 00 0021 0001'],
      [
        '1234 8580 0001 0001 0000 0001',
        '05 5f68747470 04 5f746370 03 776562 00 0021 0001',
        'c00c 0021 0001 00000005 000b 0000 0000 0050 03 776562 00',
        'c017 0001 0001 00000005 0004 0a0100c8',
      ],
    ],
    [
      'A with several addresses',
      WEB,
      [ASKED, '05 7461736b73 03 776562 00 0001 0001'],
      [
        '1234 8580 0001 0003 0000 0000',
        '05 7461736b73 03 776562 00 0001 0001',
        'c00c 0001 0001 00000005 0004 0a010014',
        'c00c 0001 0001 00000005 0004 0a010015',
        'c00c 0001 0001 00000005 0004 0a010016',
      ],
    ],
    [
      'AAAA',
      WEB,
      [ASKED, '02 6462 00 001c 0001'],
      ['1234 8580 0001 0001 0000 0000', '02 6462 00 001c 0001', 'c00c 001c 0001 00000005 0010 fd000001000000000000000000000030'],
    ],
    [
      'PTR',
      WEB,
      [ASKED, '02 3230 01 30 01 31 02 3130 07 696e2d61646472 04 61727061 00 000c 0001'],
      [
        '1234 8580 0001 0001 0000 0000',
        '02 3230 01 30 01 31 02 3130 07 696e2d61646472 04 61727061 00 000c 0001',
        'c00c 000c 0001 00000005 0012 05 7765622d31 0a 73686f705f66726f6e74 00',
      ],
    ],
    [
      'ANY: HINFO (RFC 8482)',
      WEB,
      [ASKED, '03 776562 00 00ff 0001'],
      ['1234 8580 0001 0001 0000 0000', '03 776562 00 00ff 0001', 'c00c 000d 0001 00000005 0009 07 52464338343832 00'],
    ],
    ['NODATA', WEB, [ASKED, WEB_AAAA], ['1234 8580 0001 0000 0001 0000', WEB_AAAA, soa('c020')]],
    [
      'NXDOMAIN',
      WEB,
      [ASKED, '06 6e6f73756368 00 0001 0001'],
      ['1234 8583 0001 0000 0001 0000', '06 6e6f73756368 00 0001 0001', soa('c023')],
    ],
    ['REFUSED', STRANGER, [ASKED, WEB_A], ['1234 8185 0001 0000 0000 0000', WEB_A]],
    [
      'SERVFAIL',
      VAULT,
      [ASKED, '07 6578616d706c65 03 636f6d 00 0001 0001'],
      ['1234 8182 0001 0000 0000 0000', '07 6578616d706c65 03 636f6d 00 0001 0001'],
    ],
    [
      'EDNS: our size, their DO bit',
      WEB,
      ['1234 0100 0001 0000 0000 0001', WEB_A, '00 0029 1000 00 00 8000 0000'],
      ['1234 8580 0001 0001 0000 0001', WEB_A, 'c00c 0001 0001 00000005 0004 0a0100c8', '00 0029 04d0 00 00 8000 0000'],
    ],
    [
      'BADVERS',
      WEB,
      ['1234 0100 0001 0000 0000 0001', WEB_A, '00 0029 04d0 00 01 0000 0000'],
      ['1234 8180 0001 0000 0000 0001', WEB_A, '00 0029 04d0 01 00 0000 0000'],
    ],
    ['FORMERR: ends in the question', WEB, [ASKED, '03 776562 00'], ['1234 8181 0000 0000 0000 0000']],
    ['FORMERR: two questions', WEB, ['1234 0100 0002 0000 0000 0000', WEB_A, WEB_A], ['1234 8181 0001 0000 0000 0000', WEB_A]],
    [
      'FORMERR: an answer in a question',
      WEB,
      ['1234 0100 0001 0001 0000 0000', WEB_A, 'c00c 0001 0001 00000005 0004 0a0100c8'],
      ['1234 8181 0001 0000 0000 0000', WEB_A],
    ],
    ['FORMERR: bytes behind the end', WEB, [ASKED, WEB_A, '00'], ['1234 8181 0001 0000 0000 0000', WEB_A]],
    [
      'NOTIMP: an update',
      WEB,
      ['1234 2900 0001 0000 0000 0000', '03 776562 00 0006 0001'],
      ['1234 a984 0001 0000 0000 0000', '03 776562 00 0006 0001'],
    ],
  ])('%s', (_what, client, request, expected) => {
    expect(toHex(replyTo(client, fromHex(...request)))).toBe(toHex(fromHex(...expected)));
  });

  it('SRV: the target is not compressed', () => {
    const question = { name: '_http._tcp.web', type: Type.SRV, class: 1 };
    const bytes = encodeMessage({
      ...decodeMessage(replyTo(WEB, query('web', Type.A))),
      question: { name: question.name, bytes: encodeQuestion(question) },
      answers: [{ name: question.name, ttlSeconds: 5, data: { kind: 'SRV', priority: 1, weight: 2, port: 8080, target: 'web' } }],
      authorities: [],
    });
    const asked = '05 5f68747470 04 5f746370 03 776562 00 0021 0001';
    expect(toHex(bytes)).toBe(
      toHex(fromHex('1234 8580 0001 0001 0000 0000', asked, 'c00c 0021 0001 00000005 000b 0001 0002 1f90 03 776562 00')),
    );
  });

  it.each([
    ['nothing', []],
    ['half a header', ['1234 0100 00']],
    ['an answer', ['1234 8100 0001 0000 0000 0000', WEB_A]],
  ])('%s gets none', (_what, request) => {
    expect(respondTo(WEB, fromHex(...request))).toEqual({ kind: 'drop' });
  });
});

describe('large answers', () => {
  const [front] = EXAMPLE.networks;
  const addresses = Array.from({ length: 100 }, (_, i) => `10.1.2.${i}`);
  const large = buildZone({ ...EXAMPLE, networks: [{ ...(front as NonNullable<typeof front>), records: [{ name: 'many', addresses }] }] });
  const size = (transport: Transport, edns?: { udpBytes: number }) => {
    const response = respond(large.views.get(WEB), query('many', Type.A, edns), transport);
    const bytes = response.kind === 'reply' ? response.bytes : new Uint8Array(0);
    const { truncated, answers } = decodeMessage(bytes);
    return { bytes: bytes.length, truncated, answers: answers.length };
  };

  it('are cut to what the client takes, by UDP only', () => {
    // Header 12, question 10, each answer 16, OPT 11.
    expect(size('udp')).toEqual({ bytes: 12 + 10 + 30 * 16, truncated: true, answers: 30 });
    expect(size('udp', { udpBytes: 100 })).toEqual({ bytes: 12 + 10 + 29 * 16 + 11, truncated: true, answers: 29 });
    expect(size('udp', { udpBytes: 4096 })).toEqual({ bytes: 12 + 10 + 74 * 16 + 11, truncated: true, answers: 74 });
    expect(size('tcp')).toEqual({ bytes: 12 + 10 + 100 * 16, truncated: false, answers: 100 });
  });
});

describe('random requests', () => {
  it('never throw, and never get more than they take', () => {
    const body = fc.uint8Array({ maxLength: 300 });
    const request = fc.oneof(
      body,
      body.map((b) => fromHex(ASKED, toHex(b))),
      body.map((b) => fromHex('1234 0100 0001 0000 0000 0001', WEB_A, toHex(b))),
    );
    fc.assert(
      fc.property(request, fc.constantFrom(WEB, VAULT, STRANGER), (bytes, client) => {
        const response = respondTo(client, bytes);
        if (response.kind !== 'reply') return;
        expect(response.bytes.length).toBeLessThanOrEqual(MAX_UDP_BYTES);
        const back = decodeMessage(response.bytes);
        expect(back.isResponse).toBe(true);
        expect([...response.bytes.subarray(0, 2)]).toEqual([...bytes.subarray(0, 2)]);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('what is asked outside', () => {
  const request = query('Example.com'.toLowerCase(), Type.A);
  const forwarded = respondTo(WEB, request);
  const ask = forwarded.kind === 'forward' ? forwarded.ask : ({} as OutsideQuestion);

  it('is the question and no more', () => {
    expect(toHex(encodeOutsideQuery(ask, 0x1234))).toBe(toHex(request));
    const cookie = fromHex(
      '1234 0100 0001 0000 0000 0001',
      '03 636f6d 00 0002 0001',
      '00 0029 1000 00 00 8000 000c 000a 0008 0102030405060708',
    );
    const withCookie = respondTo(WEB, cookie);
    expect(withCookie.kind === 'forward' && toHex(encodeOutsideQuery(withCookie.ask, 1))).toBe(
      toHex(fromHex('0001 0100 0001 0000 0000 0001', '03 636f6d 00 0002 0001', '00 0029 04d0 00 00 8000 0000')),
    );
  });

  it('is answered by a message with its id and its question only', () => {
    const answer = failureReply(encodeOutsideQuery(ask, 7), Rcode.NXDOMAIN);
    expect(isAnswerTo(answer, ask, 7)).toBe(true);
    expect(isAnswerTo(answer, ask, 8)).toBe(false);
    expect(isAnswerTo(encodeOutsideQuery(ask, 7), ask, 7)).toBe(false);
    expect(isAnswerTo(failureReply(query('example.org', Type.A), Rcode.NXDOMAIN), ask, 0x1234)).toBe(false);
    expect(isAnswerTo(failureReply(query('example.com', Type.AAAA), Rcode.NXDOMAIN), ask, 0x1234)).toBe(false);
    expect(isAnswerTo(answer.subarray(0, 14), ask, 7)).toBe(false);
    expect(isAnswerTo(fromHex('0007 8182 0000 0000 0000 0000'), ask, 7)).toBe(true);
    expect(isAnswerTo(fromHex('0007 8180 0000 0000 0000 0000'), ask, 7)).toBe(false);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => typeof isAnswerTo(bytes, ask, 7) === 'boolean'));
  });

  it('comes back with the id of the client, and cut if it is too large', () => {
    const answer = failureReply(encodeOutsideQuery(ask, 7), Rcode.NXDOMAIN);
    expect(toHex(relayReply(answer, request, PLAIN_UDP_BYTES))).toBe(`1234${toHex(answer).slice(4)}`);
    const cut = decodeMessage(relayReply(answer, request, 20));
    expect(cut).toMatchObject({ id: 0x1234, truncated: true, rcode: 0, answers: [] });
  });
});
