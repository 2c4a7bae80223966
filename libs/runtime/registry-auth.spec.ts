import { basicAuthorization, isLoopbackHost, parseChallenge, tokenOf, tokenUrl } from './registry-auth.js';

test('challenges', () => {
  expect(parseChallenge('Bearer realm="https://a.test/t",service="x, y",scope="repository:a/b:pull"')).toEqual({
    scheme: 'bearer',
    parameters: { realm: 'https://a.test/t', service: 'x, y', scope: 'repository:a/b:pull' },
  });
  expect(parseChallenge('BASIC realm="a \\"b\\""')).toEqual({ scheme: 'basic', parameters: { realm: 'a "b"' } });
  expect(parseChallenge('Basic')).toEqual({ scheme: 'basic', parameters: {} });
  expect(parseChallenge('')).toBeUndefined();
});

test('where a token comes from', () => {
  const url = (realm: string, more = {}) => tokenUrl({ scheme: 'bearer', parameters: { realm, ...more } }, 'a/b').href;
  expect(url('https://a.test/t?x=1', { service: 's' })).toBe('https://a.test/t?x=1&service=s&scope=repository%3Aa%2Fb%3Apull');
  expect(url('http://127.0.0.1:5/t')).toContain('http://127.0.0.1:5/t?');
  for (const realm of ['http://a.test/t', 'file:///etc/passwd', 'not a url', '']) {
    expect(() => url(realm)).toThrow(expect.objectContaining({ code: 'UNAUTHENTICATED' }));
  }
});

test('this machine', () => {
  expect(['localhost', '127.0.0.1', '127.9.9.9', '[::1]', '::1'].map(isLoopbackHost)).toEqual([true, true, true, true, true]);
  expect(['127.0.0.1.evil.test', '127.example.test', 'localhost.test', '10.0.0.1', '128.0.0.1'].map(isLoopbackHost)).toEqual([
    false,
    false,
    false,
    false,
    false,
  ]);
});

test('passwords of any letters; tokens by either name', () => {
  expect(basicAuthorization({ username: 'u', password: 'pä:ß' })).toBe('Basic dTpww6Q6w58=');
  expect([{ token: 'a' }, { access_token: 'b' }, {}, null, 'x'].map(tokenOf)).toEqual(['a', 'b', undefined, undefined, undefined]);
});
