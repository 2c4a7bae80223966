import fc from 'fast-check';
import {
  cidrContains,
  cidrLast,
  cidrsOverlap,
  formatCidr,
  ipToNumber,
  isIpv4,
  macOfIp,
  numberToIp,
  parseCidr,
  reverseName,
} from './address.js';
import { WeftError } from './errors.js';

const anyAddress = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('IPv4 maths', () => {
  it('round-trips every address', () => {
    fc.assert(fc.property(anyAddress, (n) => ipToNumber(numberToIp(n)) === n));
  });

  it('keeps a subnet whole', () => {
    fc.assert(
      fc.property(anyAddress, fc.integer({ min: 0, max: 32 }), (n, prefix) => {
        const cidr = parseCidr(`${numberToIp(n)}/${prefix}`, true);
        expect(parseCidr(formatCidr(cidr))).toEqual(cidr);
        expect(cidrContains(cidr, n)).toBe(true);
        expect(cidrContains(cidr, cidrLast(cidr) + 1)).toBe(false);
      }),
    );
  });

  it('sees overlap both ways', () => {
    const overlap = (a: string, b: string) => cidrsOverlap(parseCidr(a), parseCidr(b));
    expect(overlap('10.0.0.0/8', '10.1.0.0/16')).toBe(true);
    expect(overlap('10.1.0.0/16', '10.0.0.0/8')).toBe(true);
    expect(overlap('10.0.0.0/24', '10.0.1.0/24')).toBe(false);
    expect(overlap('0.0.0.0/0', '192.168.0.0/16')).toBe(true);
  });

  it.each(['1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4\n', ' 1.2.3.4', '1.2.3.4/24', ''])('refuses %j as an address', (text) => {
    expect(isIpv4(text)).toBe(false);
    expect(() => ipToNumber(text)).toThrow(WeftError);
  });

  it.each(['10.0.0.0/33', '10.0.0.0', '10.0.0.0/08', '10.0.0.1/24', '10.0.0.0/24\n'])('refuses %j as a subnet', (text) => {
    expect(() => parseCidr(text)).toThrow(WeftError);
  });

  it('derives MAC and reverse name', () => {
    expect(macOfIp('10.1.0.7')).toBe('02:42:0a:01:00:07');
    expect(reverseName('10.1.0.7')).toBe('7.0.1.10.in-addr.arpa');
  });
});
