import { encode } from '#model/codec.js';
import { CONTENT_GRACE_MS, type ContentKind, type FileKind } from '#model/content.js';
import { chunkKeys, keys } from '#model/keys.js';
import type { Stack } from '#model/stack.js';
import { requireContents } from './contents.js';
import { fileRows } from './file-rows.js';
import { nextCleanupMs, planCleanup } from './plan-cleanup.js';
import { planStack } from './plan-stack.js';
import { World, stackOf } from './spec-kit.js';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

function put(world: World, kind: ContentKind, id: string): void {
  const record = { kind, id, sizeBytes: 3, chunks: 1, state: 'whole', touchedAt: world.now };
  world.write({ put: keys.content(kind, id), value: encode(record) }, { put: chunkKeys.chunk(kind, id, 0), value: 'AAAA' });
}

function name(world: World, kind: FileKind, called: string, contentId: string): void {
  const record = { kind, name: called, contentId, sizeBytes: 3, labels: {}, createdAt: 0, updatedAt: 0 };
  world.write({ put: keys.namedContent(kind, called), value: encode(record) });
}

const withConfig = (contentId: string | undefined, mount: object = {}): Stack =>
  stackOf(
    's',
    { web: { container: { image: 'busybox', files: [{ kind: 'config', source: 'c', target: '/c', ...mount }] } } },
    { configs: { c: { key: 'c', name: 's_c', ...(contentId === undefined ? { external: true } : { contentId }) } } },
  );

const chunksOf = (world: World): string[] => [...world.entries.keys()].filter((key) => key.startsWith('/weft/chunks/'));

describe('configs and secrets of a stack', () => {
  it('roll out the services that use them when they change, and nothing when they do not', () => {
    const world = new World(['n1']);
    put(world, 'config', A);
    put(world, 'config', B);
    world.up(withConfig(A));
    world.settle();
    const [before] = world.model.tasks.values();
    expect(before?.container.files).toEqual([{ kind: 'config', source: 'c', contentId: A, target: '/c' }]);
    expect(world.up(withConfig(A)).writes).toEqual([]);
    const { steps } = world.up(withConfig(B));
    expect(steps.find((s) => s.name === 'web')).toMatchObject({ action: 'recreate', details: ['config c changed (content)'] });
    world.settle();
    const [after] = world.model.tasks.values();
    expect(after?.id).not.toBe(before?.id);
    expect(after?.container.files?.[0]?.contentId).toBe(B);
  });

  it('are told of by name, place, mode and owner; never by what they are known by', () => {
    const world = new World(['n1']);
    world.up(withConfig(A));
    const details = (mount: object) => world.up(withConfig(A, mount)).steps.find((s) => s.name === 'web')?.details;
    expect(details({ mode: 0o400, uid: 7 })).toEqual(['config c changed (mode 0444 → 0400, owner 0:0 → 7:0)']);
    expect(details({ target: '/d' })).toEqual(['config c at /d added', 'config c no longer at /c']);
    expect(JSON.stringify(world.up(withConfig(B, { target: '/d' })).steps)).not.toMatch(/a{16}|b{16}/);
  });

  it('that are external are those of the cluster at the time of `up`', () => {
    const world = new World(['n1']);
    expect(() => world.up(withConfig(undefined))).toThrow('there is no config s_c, which stack s calls external');
    name(world, 'config', 's_c', A);
    expect(world.up(withConfig(undefined)).stack.services['web']?.container.files?.[0]?.contentId).toBe(A);
    name(world, 'config', 's_c', B);
    expect(world.up(withConfig(undefined)).steps.find((s) => s.name === 'web')).toMatchObject({ action: 'recreate' });
    expect(fileRows(world.model, 'config')).toMatchObject([{ name: 's_c', stack: '', users: ['s'] }]);
    expect(fileRows(world.model, 'secret')).toEqual([]);
  });

  it('have to be in the cluster before the stack is', () => {
    const world = new World(['n1']);
    const { stack } = world.up(withConfig(A));
    expect(() => requireContents(world.model, stack)).toThrow('is not in the cluster');
    put(world, 'config', A);
    expect(() => requireContents(world.model, stack)).not.toThrow();
    const wish = { key: 'c', name: 's_c' };
    const unsent = { ...withConfig(A), configs: { c: { ...wish, labels: {} } } };
    expect(() => world.up(unsent)).toThrow('was not sent before the stack');
    expect(() => world.up({ ...withConfig(A), configs: {} })).toThrow('which the stack does not declare');
  });
});

describe('content that nobody refers to', () => {
  it('is deleted, chunks and all, when its grace is over', () => {
    const world = new World();
    put(world, 'config', A);
    expect(planCleanup(world.model, world.now)).toEqual([]);
    expect(nextCleanupMs(world.model, world.now)).toBe(CONTENT_GRACE_MS);
    world.now += CONTENT_GRACE_MS;
    expect(world.apply(planCleanup(world.model, world.now))).toBe(1);
    expect(world.model.contents.size).toBe(0);
    expect(chunksOf(world)).toEqual([]);
    expect(planCleanup(world.model, world.now)).toEqual([]);
  });

  it('is not what a stack, its way back, a task or a name refers to', () => {
    const world = new World(['n1']);
    for (const id of [A, B]) put(world, 'config', id);
    put(world, 'secret', A);
    name(world, 'secret', 'kept', A);
    world.up(withConfig(A));
    world.settle();
    world.up(withConfig(B));
    world.now += CONTENT_GRACE_MS;
    expect(planCleanup(world.model, world.now).filter((u) => u.what.includes('contents'))).toEqual([]);
    // Its way back is A still; a third content takes its place.
    const third = 'c'.repeat(64);
    put(world, 'config', third);
    world.settle();
    world.up(withConfig(third));
    world.settle();
    world.apply(planCleanup(world.model, world.now));
    expect([...world.model.contents.keys()].sort()).toEqual([`config/${B}`, `config/${third}`, `secret/${A}`].sort());
  });

  it('stays when an `up` refers to it at the same time, or asks for it again', () => {
    const world = new World(['n1']);
    put(world, 'config', A);
    world.now += CONTENT_GRACE_MS;
    const units = planCleanup(world.model, world.now);
    world.up(withConfig(A));
    expect(world.apply(units)).toBe(0);
    put(world, 'config', B);
    world.now += CONTENT_GRACE_MS;
    const again = planCleanup(world.model, world.now).filter((u) => u.what.includes('contents'));
    put(world, 'config', B);
    expect(world.apply(again)).toBe(0);
    expect(world.model.contents.size).toBe(2);
  });

  it('makes an `up` that refers to it plan again when it goes first', () => {
    const world = new World(['n1']);
    put(world, 'config', A);
    world.now += CONTENT_GRACE_MS;
    const units = planCleanup(world.model, world.now);
    const plan = planStack(world.model, withConfig(A), world.newId, world.now);
    expect(world.apply(units)).toBe(1);
    expect(world.txn(plan.compares, plan.writes)).toBe(false);
    expect(() => requireContents(world.model, plan.stack)).toThrow('is not in the cluster, or not any more');
  });

  it('stays while anything that may refer to it cannot be read', () => {
    const world = new World();
    put(world, 'config', A);
    world.write({ put: keys.stack('broken'), value: '{' });
    world.now += CONTENT_GRACE_MS;
    expect(planCleanup(world.model, world.now)).toEqual([]);
  });
});
