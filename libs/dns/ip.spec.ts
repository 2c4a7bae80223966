import fc from 'fast-check';
import { formatAddress, parseAddress, parsePrefix, prefixContains, prefixOfReverseName, reverseNameOf } from './ip.js';

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
/** Bytes with many zeros, as addresses have them. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), { minLength: 16, maxLength: 16 })
  .map((a) => Uint8Array.from(a));
const anyAddress = fc.oneof(bytesOf(4), ipv6);

describe('addresses', () => {
  it('round-trip', () => {
    fc.assert(fc.property(anyAddress, (bytes) => expect(parseAddress(formatAddress(bytes))).toEqual(bytes)));
    fc.assert(fc.property(fc.ipV6(), (text) => expect(parseAddress(text)).toHaveLength(16)));
  });

  it.each([
    ['fd00::1', 'fd00::1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['::', '::'],
    ['1::', '1::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['::ffff:10.1.0.7', '::ffff:a01:7'],
    ['10.1.0.7', '10.1.0.7'],
  ])('writes %s as %s', (text, canonical) => {
    expect(formatAddress(parseAddress(text) as Uint8Array)).toBe(canonical);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4\n',
    ':',
    ':::',
    '1:2',
    '1::2::3',
    '12345::',
    'g::',
    '1:2:3:4:5:6:7:8:9',
    '1.2.3.4::',
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('round-trip through their reverse names', () => {
    fc.assert(
      fc.property(anyAddress, (bytes) => {
        expect(prefixOfReverseName(reverseNameOf(bytes))).toEqual({ bytes, bits: bytes.length * 8 });
      }),
    );
    expect(prefixOfReverseName('1.10.in-addr.arpa')).toEqual(parsePrefix('10.1.0.0/16'));
    expect(prefixOfReverseName('256.10.in-addr.arpa')).toBeUndefined();
    expect(prefixOfReverseName('10.example.com')).toBeUndefined();
  });

  it.each([
    ['10.1.0.0/20', '10.1.15.255/32', true],
    ['10.1.0.0/20', '10.1.16.0/32', false],
    ['10.1.0.0/20', '10.1.0.0/16', false],
    ['0.0.0.0/0', '10.1.0.0/16', true],
    ['fd00::/8', 'fd12::/16', true],
    ['::/0', '10.0.0.0/8', false],
  ])('%s contains %s: %s', (outer, inner, result) => {
    const prefix = (text: string) => parsePrefix(text) ?? { bytes: new Uint8Array(0), bits: 0 };
    expect(prefixContains(prefix(outer), prefix(inner))).toBe(result);
  });

  it.each(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/8/8', 'fd00::/129', '/8'])('refuses %j as a subnet', (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });
});
