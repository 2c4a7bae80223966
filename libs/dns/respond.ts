/** From the bytes of a request to the bytes of its answer, or to the question that must be asked outside. Pure. */
import { HEADER_BYTES, MAX_TCP_BYTES, MAX_UDP_BYTES, PLAIN_UDP_BYTES, Rcode } from './constants.js';
import { FormatError } from './format-error.js';
import { lookupInView, type LookupResult } from './lookup.js';
import type { Message, Question, ResourceRecord } from './message.js';
import type { View } from './zone.js';
import { decodeCounts, decodeHeader, decodeMessage, decodeQuestion, encodeMessage, type OutgoingMessage } from './wire.js';

export type Transport = 'udp' | 'tcp';

/** What is asked of an upstream: the client's question, byte for byte, and nothing else of the client's but these flags. */
export interface OutsideQuestion {
  question: Uint8Array;
  recursionDesired: boolean;
  authenticData: boolean;
  checkingDisabled: boolean;
  /** Undefined: the client has no EDNS. */
  edns: { dnssecOk: boolean; udpBytes: number } | undefined;
  /** What the client can take, in bytes. */
  limitBytes: number;
}

export type Response =
  /** Nothing that deserves an answer. */
  | { kind: 'drop' }
  | {
      kind: 'reply';
      bytes: Uint8Array;
      rcode: number;
      /** How many different orders there are; 0: do not keep the reply, each request of its kind may be another one. */
      turns: number;
    }
  /** `upstreams` are the client's own resolvers, if it has any. */
  | { kind: 'forward'; ask: OutsideQuestion; upstreams: readonly string[] | undefined };

const OPCODE_QUERY = 0;
/** A query has at most an OPT and a signature there; more is a way to make us work. */
const MAX_ADDITIONALS = 2;
/** TTL of the SOA record, and so of negative answers, is the zone's; the rest of its times means nothing here. */
const SOA_TIMES = { serial: 1, refresh: 3600, retry: 600, expire: 86_400 } as const;

/** Answers `request`, which came from a client with this view (undefined: from a stranger). Never throws. */
export function respond(view: View | undefined, request: Uint8Array, transport: Transport, turn = 0): Response {
  let message: Message;
  try {
    if (decodeHeader(request).isResponse) return { kind: 'drop' };
    message = decodeQuery(request);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return request.length < HEADER_BYTES ? { kind: 'drop' } : failure(request, Rcode.FORMERR);
  }
  if (message.opcode !== OPCODE_QUERY) return failure(request, Rcode.NOTIMP);
  if (!view) return failure(request, Rcode.REFUSED);
  if (message.edns && message.edns.version > 0) return reply(request, message, transport, { rcode: Rcode.BADVERS });
  const result = lookupInView(view, message.questions[0] as Question, turn);
  if (result.kind === 'upstream') return { kind: 'forward', ask: outsideQuestion(request, message, transport), upstreams: view.upstreams };
  return reply(request, message, transport, contentOf(result, view));
}

/** @throws FormatError unless it is one question and nothing that belongs into answers */
function decodeQuery(request: Uint8Array): Message {
  const { opcode } = decodeHeader(request);
  const counts = decodeCounts(request);
  // Other operations use the sections in their own ways; they get NOTIMP, not FORMERR.
  if (opcode !== OPCODE_QUERY)
    return { ...decodeHeader(request), questions: [], answers: [], authorities: [], additionals: [], edns: undefined };
  if (counts.questions !== 1 || counts.answers !== 0 || counts.authorities !== 0) throw new FormatError('not one question');
  if (counts.additionals > MAX_ADDITIONALS) throw new FormatError('too many additional records');
  return decodeMessage(request);
}

interface Content {
  rcode: number;
  answers?: ResourceRecord[];
  authorities?: ResourceRecord[];
  additionals?: ResourceRecord[];
  authoritative?: boolean;
  turns?: number;
}

function contentOf(result: Exclude<LookupResult, { kind: 'upstream' }>, view: View): Content {
  switch (result.kind) {
    case 'answer':
      return { rcode: Rcode.NOERROR, answers: result.records, additionals: result.additionals, authoritative: true, turns: result.turns };
    case 'nodata':
      return { rcode: Rcode.NOERROR, authorities: [soa(view)], authoritative: true, turns: 1 };
    case 'nxdomain':
      return { rcode: Rcode.NXDOMAIN, authorities: [soa(view)], authoritative: true };
    case 'refused':
      return { rcode: Rcode.REFUSED };
    case 'servfail':
      return { rcode: Rcode.SERVFAIL };
  }
}

/**
 * How long a negative answer may be kept (RFC 2308 §5). Its owner is the root, as names without dots have no other zone
 * above them.
 */
function soa(view: View): ResourceRecord {
  const { ttlSeconds } = view.zone;
  return { name: '', ttlSeconds, data: { kind: 'SOA', primary: 'weft', mailbox: 'hostmaster.weft', ...SOA_TIMES, minimum: ttlSeconds } };
}

const questionBytes = (request: Uint8Array): { bytes: Uint8Array; name: string } => {
  const { question, next } = decodeQuestion(request, HEADER_BYTES);
  return { bytes: request.subarray(HEADER_BYTES, next), name: question.name };
};

function limitOf(message: Message, transport: Transport): number {
  if (transport === 'tcp') return MAX_TCP_BYTES;
  return message.edns ? Math.min(Math.max(message.edns.udpBytes, PLAIN_UDP_BYTES), MAX_UDP_BYTES) : PLAIN_UDP_BYTES;
}

function reply(request: Uint8Array, message: Message, transport: Transport, content: Content): Response {
  const outgoing: OutgoingMessage = {
    ...replyHeader(message, content.rcode),
    authoritative: content.authoritative ?? false,
    question: questionBytes(request),
    answers: content.answers ?? [],
    authorities: content.authorities ?? [],
    additionals: content.additionals ?? [],
    edns: message.edns && { udpBytes: MAX_UDP_BYTES, version: 0, dnssecOk: message.edns.dnssecOk, hasOptions: false },
  };
  // Options differ from query to query (cookies), so such queries do not come again.
  const turns = message.edns?.hasOptions || message.additionals.length > 0 ? 0 : (content.turns ?? 0);
  return { kind: 'reply', bytes: encodeMessage(outgoing, limitOf(message, transport)), rcode: content.rcode, turns };
}

function replyHeader(request: Pick<Message, 'id' | 'opcode' | 'recursionDesired' | 'checkingDisabled'>, rcode: number) {
  return {
    id: request.id,
    isResponse: true,
    opcode: request.opcode,
    authoritative: false,
    truncated: false,
    recursionDesired: request.recursionDesired,
    recursionAvailable: true,
    authenticData: false,
    checkingDisabled: request.checkingDisabled,
    rcode,
  };
}

function outsideQuestion(request: Uint8Array, message: Message, transport: Transport): OutsideQuestion {
  const { recursionDesired, authenticData, checkingDisabled, edns } = message;
  return {
    question: questionBytes(request).bytes.slice(),
    recursionDesired,
    authenticData,
    checkingDisabled,
    edns: edns && { dnssecOk: edns.dnssecOk, udpBytes: Math.min(Math.max(edns.udpBytes, PLAIN_UDP_BYTES), MAX_UDP_BYTES) },
    limitBytes: limitOf(message, transport),
  };
}

/** A reply without records: the question is repeated if it can be read. `request` has at least a header. */
export function failureReply(request: Uint8Array, rcode: number): Uint8Array {
  let question: OutgoingMessage['question'];
  let edns: Message['edns'];
  try {
    question = questionBytes(request);
    edns = decodeMessage(request).edns;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
  const sent = edns && { udpBytes: MAX_UDP_BYTES, version: 0, dnssecOk: edns.dnssecOk, hasOptions: false };
  return encodeMessage({ ...replyHeader(decodeHeader(request), rcode), question, answers: [], authorities: [], edns: sent });
}

const failure = (request: Uint8Array, rcode: number): Response => ({ kind: 'reply', bytes: failureReply(request, rcode), rcode, turns: 0 });

/** The message to an upstream. @param question as asked, if its letters are to be of another case */
export function encodeOutsideQuery(ask: OutsideQuestion, id: number, question = ask.question): Uint8Array {
  return encodeMessage({
    ...replyHeader(
      { id, opcode: OPCODE_QUERY, recursionDesired: ask.recursionDesired, checkingDisabled: ask.checkingDisabled },
      Rcode.NOERROR,
    ),
    isResponse: false,
    recursionAvailable: false,
    authenticData: ask.authenticData,
    question: { bytes: question, name: '' },
    answers: [],
    authorities: [],
    edns: ask.edns && { ...ask.edns, version: 0, hasOptions: false },
  });
}

/** Whether `bytes` answers this question of ours: id, flags and question are checked (RFC 5452 §9.1). */
export function isAnswerTo(bytes: Uint8Array, ask: OutsideQuestion, id: number): boolean {
  if (bytes.length < HEADER_BYTES) return false;
  const header = decodeHeader(bytes);
  if (header.id !== id || !header.isResponse || header.opcode !== OPCODE_QUERY) return false;
  const counts = decodeCounts(bytes);
  // Servers that cannot read the question say so without repeating it.
  if (counts.questions === 0) return header.rcode !== Rcode.NOERROR;
  if (counts.questions !== 1 || bytes.length < HEADER_BYTES + ask.question.length) return false;
  return ask.question.every((byte, i) => lower(byte) === lower(bytes[HEADER_BYTES + i] as number));
}

const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte);

/** The upstream's answer for this client: with its id, and cut to the bare question with TC if it is too large. */
export function relayReply(answer: Uint8Array, request: Uint8Array, limitBytes: number): Uint8Array {
  if (answer.length > limitBytes) {
    const cut = failureReply(request, Rcode.NOERROR);
    cut[2] = (cut[2] ?? 0) | 0x02;
    return cut;
  }
  const bytes = answer.slice();
  bytes.set(request.subarray(0, 2));
  // The question goes back in the letters in which this client asked it; only its letters can differ.
  if (decodeCounts(answer).questions === 1) bytes.set(questionBytes(request).bytes, HEADER_BYTES);
  return bytes;
}

/** The question with each letter in the case that a bit of `random` says (at least as many bytes as the question has). */
export function mixCase(question: Uint8Array, random: Uint8Array): Uint8Array {
  // Lengths of labels are below 64 and so no letters; the last four bytes are type and class.
  const nameEnd = question.length - 4;
  return question.map((byte, i) => {
    const letter = lower(byte);
    if (i >= nameEnd || letter < 0x61 || letter > 0x7a) return byte;
    return ((random[i] ?? 0) & 1) === 1 ? letter - 32 : letter;
  });
}

/** Whether the question of an answer is in the letters in which it was asked: who forges one must guess them, too. */
export const keepsCase = (answer: Uint8Array, question: Uint8Array): boolean =>
  decodeCounts(answer).questions === 0 || question.every((byte, i) => byte === answer[HEADER_BYTES + i]);
