/** A DNS message as a value (RFC 1035 §4, EDNS by RFC 6891). */

export interface Question {
  /** Text form of name.ts: lower case, no dot at the end. */
  name: string;
  type: number;
  class: number;
}

export type RecordData =
  | { kind: 'A' | 'AAAA'; address: Uint8Array }
  | { kind: 'PTR'; target: string }
  /** RFC 2782 */
  | { kind: 'SRV'; priority: number; weight: number; port: number; target: string }
  /** RFC 1035 §3.3.13; times in seconds. `minimum` is the time a negative answer may be kept (RFC 2308 §4). */
  | { kind: 'SOA'; primary: string; mailbox: string; serial: number; refresh: number; retry: number; expire: number; minimum: number }
  | { kind: 'HINFO'; cpu: string; os: string }
  | { kind: 'other'; type: number; bytes: Uint8Array };

/** A resource record of class IN. */
export interface ResourceRecord {
  name: string;
  ttlSeconds: number;
  data: RecordData;
}

export interface Edns {
  /** Largest UDP payload the sender takes, in bytes. */
  udpBytes: number;
  version: number;
  /** The DO bit (RFC 3225). */
  dnssecOk: boolean;
  /** Whether it carried options (cookies and the like); they are not kept. */
  hasOptions: boolean;
}

export interface Header {
  id: number;
  isResponse: boolean;
  opcode: number;
  authoritative: boolean;
  truncated: boolean;
  recursionDesired: boolean;
  recursionAvailable: boolean;
  authenticData: boolean;
  checkingDisabled: boolean;
  /** With the upper bits that EDNS adds. */
  rcode: number;
}

export interface Message extends Header {
  questions: Question[];
  answers: ResourceRecord[];
  authorities: ResourceRecord[];
  additionals: ResourceRecord[];
  edns: Edns | undefined;
}
