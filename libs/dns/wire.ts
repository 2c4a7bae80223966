/**
 * The codec of DNS messages: RFC 1035 §4, AAAA by RFC 3596, SRV by RFC 2782, EDNS by RFC 6891. Decoding believes nothing:
 * whatever the bytes are, it returns a message or throws a FormatError, in time proportional to their number.
 */
import { ByteWriter } from './byte-writer.js';
import { Class, HEADER_BYTES, MAX_TCP_BYTES, Type } from './constants.js';
import { FormatError } from './format-error.js';
import type { Edns, Header, Message, Question, RecordData, ResourceRecord } from './message.js';
import { noteName, readName, writeName, type NameOffsets } from './name.js';

const FLAG = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100, RA: 0x0080, AD: 0x0020, CD: 0x0010 } as const;
const DO_BIT = 0x8000;
/** OPT without options: root name, type, size, extended code and flags, length (RFC 6891 §6.1.2). */
const OPT_BYTES = 11;
const FLAGS_AT = 2;
/** Offsets of the counts in the header. */
const COUNT_AT = { questions: 4, answers: 6, authorities: 8, additionals: 10 } as const;

/** One byte a character, as readString gives them. */
const latin1 = (text: string): number[] => [...text].map((c) => c.charCodeAt(0) & 255);

function u16(bytes: Uint8Array, at: number): number {
  const [high, low] = [bytes[at], bytes[at + 1]];
  if (high === undefined || low === undefined) throw new FormatError('it ends in the middle');
  return (high << 8) | low;
}

const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 65_536 + u16(bytes, at + 2);

/** The first twelve bytes. @throws FormatError if there are fewer */
export function decodeHeader(bytes: Uint8Array): Header {
  if (bytes.length < HEADER_BYTES) throw new FormatError('shorter than a header');
  const flags = u16(bytes, 2);
  return {
    id: u16(bytes, 0),
    isResponse: (flags & FLAG.QR) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & FLAG.AA) !== 0,
    truncated: (flags & FLAG.TC) !== 0,
    recursionDesired: (flags & FLAG.RD) !== 0,
    recursionAvailable: (flags & FLAG.RA) !== 0,
    authenticData: (flags & FLAG.AD) !== 0,
    checkingDisabled: (flags & FLAG.CD) !== 0,
    rcode: flags & 15,
  };
}

/** The number of entries the header announces for each section. @throws FormatError */
export function decodeCounts(bytes: Uint8Array): { questions: number; answers: number; authorities: number; additionals: number } {
  return {
    questions: u16(bytes, COUNT_AT.questions),
    answers: u16(bytes, COUNT_AT.answers),
    authorities: u16(bytes, COUNT_AT.authorities),
    additionals: u16(bytes, COUNT_AT.additionals),
  };
}

/** The question at `offset` and where it ends. @throws FormatError */
export function decodeQuestion(bytes: Uint8Array, offset: number): { question: Question; next: number } {
  const { name, next } = readName(bytes, offset);
  return { question: { name, type: u16(bytes, next), class: u16(bytes, next + 2) }, next: next + 4 };
}

/** A whole message; bytes after its last record are refused. @throws FormatError */
export function decodeMessage(bytes: Uint8Array): Message {
  const header = decodeHeader(bytes);
  const counts = decodeCounts(bytes);
  const message: Message = { ...header, questions: [], answers: [], authorities: [], additionals: [], edns: undefined };
  let at = HEADER_BYTES;
  for (let i = 0; i < counts.questions; i++) {
    const { question, next } = decodeQuestion(bytes, at);
    message.questions.push(question);
    at = next;
  }
  for (const section of ['answers', 'authorities', 'additionals'] as const) {
    for (let i = 0; i < counts[section]; i++) at = decodeRecord(bytes, at, section, message);
  }
  if (at !== bytes.length) throw new FormatError('bytes after its end');
  return message;
}

/** Where the times to live stand, of every record but OPT, whose field is none. @throws FormatError */
export function ttlOffsets(bytes: Uint8Array): number[] {
  const counts = decodeCounts(bytes);
  const offsets: number[] = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < counts.questions; i++) at = decodeQuestion(bytes, at).next;
  for (let i = counts.answers + counts.authorities + counts.additionals; i > 0; i--) {
    const { next } = readName(bytes, at);
    if (u16(bytes, next) !== Type.OPT) offsets.push(next + 4);
    at = next + 10 + u16(bytes, next + 8);
  }
  return offsets;
}

function decodeRecord(bytes: Uint8Array, offset: number, section: 'answers' | 'authorities' | 'additionals', into: Message): number {
  const { name, next } = readName(bytes, offset);
  const type = u16(bytes, next);
  const start = next + 10;
  const end = start + u16(bytes, next + 8);
  if (end > bytes.length) throw new FormatError('a record runs past the end');
  if (type === Type.OPT) {
    if (section !== 'additionals' || name !== '' || into.edns) throw new FormatError('a second or misplaced OPT record');
    const upper = bytes[next + 4] ?? 0;
    into.rcode |= upper << 4;
    into.edns = {
      udpBytes: u16(bytes, next + 2),
      version: bytes[next + 5] ?? 0,
      dnssecOk: (u16(bytes, next + 6) & DO_BIT) !== 0,
      hasOptions: end > start,
    };
  } else {
    into[section].push({ name, ttlSeconds: u32(bytes, next + 4), data: decodeData(bytes, type, start, end) });
  }
  return end;
}

function decodeData(bytes: Uint8Array, type: number, start: number, end: number): RecordData {
  const nameTo = (at: number): { name: string; next: number } => {
    const read = readName(bytes, at);
    if (read.next > end) throw new FormatError('a name runs past its record');
    return read;
  };
  const only = (at: number): string => {
    const { name, next } = nameTo(at);
    if (next !== end) throw new FormatError('a record longer than its data');
    return name;
  };
  const isLong = (length: number): void => {
    if (end - start !== length) throw new FormatError('an address of the wrong length');
  };
  switch (type) {
    case Type.A:
      isLong(4);
      return { kind: 'A', address: bytes.slice(start, end) };
    case Type.AAAA:
      isLong(16);
      return { kind: 'AAAA', address: bytes.slice(start, end) };
    case Type.PTR:
      return { kind: 'PTR', target: only(start) };
    case Type.SRV:
      return {
        kind: 'SRV',
        priority: u16(bytes, start),
        weight: u16(bytes, start + 2),
        port: u16(bytes, start + 4),
        target: only(start + 6),
      };
    case Type.SOA: {
      const primary = nameTo(start);
      const mailbox = nameTo(primary.next);
      const at = mailbox.next;
      if (at + 20 !== end) throw new FormatError('an SOA record of the wrong length');
      const [serial, refresh, retry, expire, minimum] = [0, 4, 8, 12, 16].map((i) => u32(bytes, at + i)) as [
        number,
        number,
        number,
        number,
        number,
      ];
      return { kind: 'SOA', primary: primary.name, mailbox: mailbox.name, serial, refresh, retry, expire, minimum };
    }
    case Type.HINFO: {
      const cpu = readString(bytes, start, end);
      const os = readString(bytes, cpu.next, end);
      if (os.next !== end) throw new FormatError('a record longer than its data');
      return { kind: 'HINFO', cpu: cpu.text, os: os.text };
    }
    default:
      return { kind: 'other', type, bytes: bytes.slice(start, end) };
  }
}

/** A character-string: one byte of length, then so many bytes (RFC 1035 §3.3). */
function readString(bytes: Uint8Array, at: number, end: number): { text: string; next: number } {
  const next = at + 1 + (bytes[at] ?? 0);
  if (at >= end || next > end) throw new FormatError('a string runs past its record');
  return { text: String.fromCharCode(...bytes.subarray(at + 1, next)), next };
}

const TYPE_OF = { A: Type.A, AAAA: Type.AAAA, PTR: Type.PTR, SRV: Type.SRV, SOA: Type.SOA, HINFO: Type.HINFO } as const;

function writeRecord(writer: ByteWriter, record: ResourceRecord, offsets: NameOffsets): void {
  const { data } = record;
  writeName(writer, record.name, offsets);
  writer.u16(data.kind === 'other' ? data.type : TYPE_OF[data.kind]);
  writer.u16(Class.IN);
  writer.u32(record.ttlSeconds);
  const lengthAt = writer.length;
  writer.u16(0);
  writeData(writer, data, offsets);
  writer.setU16(lengthAt, writer.length - lengthAt - 2);
}

function writeData(writer: ByteWriter, data: RecordData, offsets: NameOffsets): void {
  switch (data.kind) {
    case 'A':
    case 'AAAA':
      return writer.bytes(data.address);
    case 'PTR':
      return writeName(writer, data.target, offsets);
    case 'SRV':
      for (const value of [data.priority, data.weight, data.port]) writer.u16(value);
      // RFC 2782: no compression in the target.
      return writeName(writer, data.target, new Map());
    case 'SOA':
      writeName(writer, data.primary, offsets);
      writeName(writer, data.mailbox, offsets);
      for (const value of [data.serial, data.refresh, data.retry, data.expire, data.minimum]) writer.u32(value);
      return;
    case 'HINFO':
      for (const text of [data.cpu, data.os]) {
        writer.u8(text.length);
        writer.bytes(latin1(text));
      }
      return;
    case 'other':
      return writer.bytes(data.bytes);
  }
}

function flagsOf(header: Header): number {
  return (
    (header.isResponse ? FLAG.QR : 0) |
    (header.opcode << 11) |
    (header.authoritative ? FLAG.AA : 0) |
    (header.truncated ? FLAG.TC : 0) |
    (header.recursionDesired ? FLAG.RD : 0) |
    (header.recursionAvailable ? FLAG.RA : 0) |
    (header.authenticData ? FLAG.AD : 0) |
    (header.checkingDisabled ? FLAG.CD : 0) |
    (header.rcode & 15)
  );
}

function writeHeader(writer: ByteWriter, header: Header, hasQuestion: boolean): void {
  writer.u16(header.id);
  writer.u16(flagsOf(header));
  for (const count of [hasQuestion ? 1 : 0, 0, 0, 0]) writer.u16(count);
}

function writeOpt(writer: ByteWriter, edns: Edns, rcode: number): void {
  writer.u8(0);
  writer.u16(Type.OPT);
  writer.u16(edns.udpBytes);
  writer.u8(rcode >> 4);
  writer.u8(edns.version);
  writer.u16(edns.dnssecOk ? DO_BIT : 0);
  writer.u16(0);
}

export interface OutgoingMessage extends Header {
  /** The question as it was asked, byte for byte: its letter case goes back as it came. Undefined for none. */
  question: { bytes: Uint8Array; name: string } | undefined;
  answers: readonly ResourceRecord[];
  authorities: readonly ResourceRecord[];
  /** OPT apart. */
  additionals?: readonly ResourceRecord[];
  edns: Edns | undefined;
}

/**
 * The message in at most `limitBytes`. Answers that do not fit are left off and TC is set (RFC 2181 §9), so that an old
 * client that never asks by TCP still gets some; other records that do not fit are left off silently.
 */
export function encodeMessage(message: OutgoingMessage, limitBytes: number = MAX_TCP_BYTES): Uint8Array {
  const writer = new ByteWriter();
  const offsets: NameOffsets = new Map();
  writeHeader(writer, message, message.question !== undefined);
  if (message.question) {
    noteName(message.question.name, writer.length, offsets);
    writer.bytes(message.question.bytes);
  }
  const room = Math.min(limitBytes, MAX_TCP_BYTES) - (message.edns ? OPT_BYTES : 0);
  const answers = writeWhatFits(writer, message.answers, offsets, room);
  writer.setU16(COUNT_AT.answers, answers);
  if (answers < message.answers.length) writer.setU16(FLAGS_AT, flagsOf({ ...message, truncated: true }));
  else writer.setU16(COUNT_AT.authorities, writeWhatFits(writer, message.authorities, offsets, room));
  const isWhole = answers === message.answers.length;
  const additionals = isWhole ? writeWhatFits(writer, message.additionals ?? [], offsets, room) : 0;
  if (message.edns) writeOpt(writer, message.edns, message.rcode);
  writer.setU16(COUNT_AT.additionals, additionals + (message.edns ? 1 : 0));
  return writer.take();
}

function writeWhatFits(writer: ByteWriter, records: readonly ResourceRecord[], offsets: NameOffsets, room: number): number {
  for (const [i, record] of records.entries()) {
    const before = writer.length;
    writeRecord(writer, record, offsets);
    if (writer.length > room) {
      writer.cut(before);
      return i;
    }
  }
  return records.length;
}

/** A question in wire form, from its text. @throws FormatError if the name does not fit the limits */
export function encodeQuestion(question: Question): Uint8Array {
  const writer = new ByteWriter();
  writeName(writer, question.name, new Map());
  writer.u16(question.type);
  writer.u16(question.class);
  return writer.take();
}
