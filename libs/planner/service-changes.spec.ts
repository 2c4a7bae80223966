import { serviceSchema, type Service } from '#model/stack.js';
import { changesInPlace, changesThatRecreate } from './service-changes.js';
import { sameValue, specHash } from './spec-hash.js';

const service = (parts: object = {}, container: object = {}): Service =>
  serviceSchema.parse({ name: 'web', container: { image: 'a:1', ...container }, ...parts });
const BEFORE = service();

it.each<[string, Service, string[], string[]]>([
  ['nothing', service(), [], []],
  ['an image', service({}, { image: 'a:2' }), ['image: a:1 → a:2'], []],
  ['variables, never their values', service({}, { environment: { KEY: 'secret' } }), ['environment changed (KEY)'], []],
  ['labels of containers', service({}, { labels: { a: 'b' } }), ['labels changed (a)'], []],
  ['a limit', service({}, { limits: { pids: 5 } }), ['deploy.resources.limits: unset → {"pids":5}'], []],
  ['capabilities', service({}, { capAdd: ['NET_ADMIN'] }), ['cap_add: [] → ["NET_ADMIN"]'], []],
  ['a grace period', service({}, { stopGraceMs: 5 }), ['stop_grace_period (ms): 10000 → 5'], []],
  ['a health check', service({}, { healthcheck: { test: ['CMD', 'x'] } }), ['healthcheck changed'], []],
  ['whose network it lives in', service({ networkMode: { kind: 'host' } }), ['network mode: networks → host'], []],
  ['restarts', service({ restart: { condition: 'none' } }), ['restart: unset → {"condition":"none"}'], []],
  ['labels of the service', service({ labels: { a: 'b' } }), [], ['deploy.labels changed (a)']],
  ['replicas', service({ replicas: 3 }), [], ['replicas: 1 → 3']],
  ['ports', service({ ports: [{ target: 80, published: 8080 }] }), [], ['ports: none → 8080:80/tcp']],
  ['networks', service({ networks: { n: { aliases: ['x'], gwPriority: 2 } } }), [], ['networks: none → n (x, gw_priority 2)']],
  ['links', service({ links: [{ service: 'db', alias: 'd' }] }), [], ['links: none → db:d']],
  [
    'how it is updated',
    service({ update: { parallelism: 2 } }),
    [],
    [expect.stringMatching(/^deploy\.update_config: unset → \{/) as string],
  ],
  ['what it waits for', service({ dependsOn: { db: {} } }), [], [expect.stringMatching(/^depends_on: unset → \{"db":/) as string]],
  [
    'how names answer',
    service({ endpointMode: 'dnsrr', dnsTtlSeconds: 5 }),
    [],
    ['deploy.endpoint_mode: unset → dnsrr', 'dns_ttl_seconds: unset → 5'],
  ],
])('%s', (_, after, recreating, inPlace) => {
  expect(changesThatRecreate(BEFORE, after)).toEqual(recreating);
  expect(changesInPlace(BEFORE, after)).toEqual(inPlace);
  // What is said is what happens: other tasks come from another hash, and from nothing else.
  expect(specHash(after) !== specHash(BEFORE)).toBe(recreating.length > 0);
  expect(recreating.length + inPlace.length > 0).toBe(!sameValue(BEFORE, after));
});

it('tells each innermost field of what both have', () => {
  const before = service({ update: { parallelism: 1, delayMs: 5 } });
  const after = service({ update: { parallelism: 2, delayMs: 5 } });
  expect(changesInPlace(before, after)).toEqual(['deploy.update_config.parallelism: 1 → 2']);
});

it('says that ports change even where only the name of one does', () => {
  const named = service({ ports: [{ target: 80, published: 80, name: 'web' }] });
  expect(changesInPlace(service({ ports: [{ target: 80, published: 80 }] }), named)).toEqual(['ports: 80:80/tcp → 80:80/tcp']);
});
