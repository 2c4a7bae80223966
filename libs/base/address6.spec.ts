import fc from 'fast-check';
import {
  canonicalIp6,
  cidr6Contains,
  cidr6Last,
  cidrs6Overlap,
  formatCidr6,
  ip6ToNumber,
  isIpv6,
  numberToIp6,
  parseCidr6,
  reverseName6,
} from './address6.js';

describe('IPv6 addresses', () => {
  it.each([
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::', '::'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
  ])('%s is written %s (RFC 5952)', (text, canonical) => {
    expect(canonicalIp6(text)).toBe(canonical);
    expect(isIpv6(canonical)).toBe(true);
    expect(isIpv6(text)).toBe(text === canonical);
  });

  it.each(['', '1.2.3.4', 'fe80::1%eth0', '2001:db8::g', '1::2::3', ':::', 'fd00::1\n'])('refuses %j', (text) => {
    expect(() => ip6ToNumber(text)).toThrow(expect.objectContaining({ code: 'BAD_ADDRESS' }));
    expect(isIpv6(text)).toBe(false);
  });

  it('text and number are the same thing', () => {
    fc.assert(fc.property(fc.bigInt(0n, (1n << 128n) - 1n), (n) => ip6ToNumber(numberToIp6(n)) === n && isIpv6(numberToIp6(n))));
  });

  it('subnets', () => {
    const net = parseCidr6('fd00:1::/64');
    expect(formatCidr6(net)).toBe('fd00:1::/64');
    expect(numberToIp6(cidr6Last(net))).toBe('fd00:1::ffff:ffff:ffff:ffff');
    expect(cidr6Contains(net, ip6ToNumber('fd00:1::7'))).toBe(true);
    expect(cidr6Contains(net, ip6ToNumber('fd00:1:0:1::'))).toBe(false);
    expect(cidrs6Overlap(net, parseCidr6('fd00::/16'))).toBe(true);
    expect(cidrs6Overlap(net, parseCidr6('fd00:2::/64'))).toBe(false);
    expect(() => parseCidr6('fd00:1::1/64')).toThrow(/fd00:1::1\/64/);
    expect(formatCidr6(parseCidr6('fd00:1::1/64', true))).toBe('fd00:1::/64');
    expect(formatCidr6(parseCidr6('::/0'))).toBe('::/0');
    for (const bad of ['fd00::/129', 'fd00::', '10.0.0.0/8', 'fd00::/-1']) expect(() => parseCidr6(bad)).toThrow();
  });

  it('reverse names (RFC 3596 §2.5)', () => {
    expect(reverseName6('2001:db8::567:89ab')).toBe('b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa');
  });
});
