import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { inFiles, loadProject, type Project } from './project.js';
import { processShell } from './shell.js';

let dir: string;
let project: Project;
const SHOP = `name: shop
services:
  db:
    image: db
    networks:
      front: { ipv4_address: 10.1.0.7 }
  web: { image: web, networks: [front] }
  api:
    image: api
    ports: ["80:80", 8000-8001:90-91]
    deploy: { placement: { constraints: [node.role == worker, node.labels.a == b] } }
  old:
    image: old
    ports:
      - target: 80
        published: 81
networks:
  front: { ipam: { config: [{ subnet: 10.1.0.0/24 }] } }
`;
const OVER = 'services:\n  db:\n    networks:\n      front:\n        ipv6_address: "fd00::7"\n';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), `weft-project-${process.pid}-`));
  await writeFile(join(dir, 'shop.yaml'), SHOP);
  await writeFile(
    join(dir, 'over.yaml'),
    OVER.replace('services', 'networks: { front: { enable_ipv6: true, ipam: { config: [{ subnet: "fd00::/64" }] } } }\nservices'),
  );
  const shell = { ...processShell(() => undefined), cwd: dir, env: {} };
  project = await loadProject(shell, { file: ['shop.yaml', 'over.yaml'] });
});
afterAll(() => rm(dir, { recursive: true }));

const refused = (path: readonly string[]): Promise<unknown> =>
  inFiles(project, () => Promise.reject(new WeftError('BAD_VALUE', { what: 'no', why: 'because', hint: 'do', path }))).catch(
    (e: unknown) => e,
  );

describe('what the cluster refuses because of the files says where in them', () => {
  it.each([
    [['services', 'db', 'networks', 'front', 'ipv4_address'], 'shop.yaml:6:30'],
    [['services', 'db', 'networks', 'front', 'ipv6_address'], 'over.yaml:6:23'],
    [['services', 'web', 'networks', 'front', 'mac_address'], 'shop.yaml:7:33'],
    [['services', 'web', 'ports'], 'shop.yaml:7:3'],
    [['services', 'api', 'ports', '0', 'published'], 'shop.yaml:10:13'],
    [['services', 'api', 'ports', '2', 'published'], 'shop.yaml:10:22'],
    [['services', 'old', 'ports', '0', 'published'], 'shop.yaml:16:20'],
    [['services', 'api', 'deploy', 'placement', 'constraints', '1'], 'shop.yaml:11:63'],
    [['services', 'api', 'deploy', 'resources', 'reservations', 'memory'], 'shop.yaml:11:5'],
  ])('%j', async (path, place) =>
    expect(await refused(path)).toMatchObject({ code: 'BAD_VALUE', what: `${place}: no`, why: 'because', hint: 'do' }),
  );

  it('and where it is about no value, it says what it said', async () => expect(await refused([])).toMatchObject({ what: 'no' }));
});
