/** What becomes of one Compose file: parsed, refused with reasons, or wrong; wrong is whatever must never be. */
import { dirname, relative } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { DotEnvFault, parseDotEnv } from '#compose/dot-env.js';
import { ComposeErrors, formatIssue, type ComposeIssue } from '#compose/issue.js';
import { loadModel, type Model } from '#compose/load-model.js';
import type { ModelInput } from '#compose/loading.js';
import { readStack } from '#compose/parse-compose.js';
import { renderModel } from '#compose/render-model.js';
import { renderYaml } from '#compose/render-yaml.js';
import { ROOT, type Case } from './folder.js';

export type Verdict =
  | { is: 'parsed'; canonical: string }
  /** By the language: the file says something that Compose does not know. By Weft: Compose's model, of which Weft does not do all. */
  | { is: 'refused'; by: 'language' | 'weft'; issues: readonly ComposeIssue[]; canonical?: string }
  | { is: 'wrong'; why: string };

/** By path from ROOT. */
export type Texts = Pick<ReadonlyMap<string, string>, 'get'>;

/** The same texts, but for that of one path. */
export const withText = (texts: Texts, path: string, text: string): Texts => ({
  get: (asked) => (asked === path ? text : texts.get(asked)),
});

/** A file takes some milliseconds; what takes this long, of processor time, would hang on a larger one. */
const MAX_CPU_MS = 5_000;

/** @param texts by path from ROOT */
export function judge(one: Case, texts: Texts): Verdict {
  const began = performance.now();
  let verdict: Verdict;
  try {
    verdict = attempt(one, texts);
  } catch (error) {
    return { is: 'wrong', why: `it crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}` };
  }
  // To ask for the processor's time takes as long as a small file, and a busy machine is no hang: only what took long is timed.
  const cpuMs = performance.now() - began > MAX_CPU_MS ? cpuTimeOf(one, texts) : 0;
  if (cpuMs > MAX_CPU_MS) return { is: 'wrong', why: `it took ${Math.round(cpuMs)} ms` };
  const placeless = verdict.is === 'refused' ? verdict.issues.find((issue) => !hasPlace(issue, texts)) : undefined;
  if (placeless) return { is: 'wrong', why: `an error without a place in a file: ${formatIssue(placeless)}` };
  return verdict;
}

function cpuTimeOf(one: Case, texts: Texts): number {
  const began = process.cpuUsage();
  attempt(one, texts);
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1000;
}

function attempt(one: Case, texts: Texts): Verdict {
  const model = modelOf(one, texts);
  if ('issues' in model) return { is: 'refused', by: 'language', issues: model.issues };
  const canonical = renderYaml(renderModel(model.tree, { escape: true }));
  try {
    readStack(model);
  } catch (error) {
    if (error instanceof ComposeErrors) return { is: 'refused', by: 'weft', issues: error.issues, canonical };
    throw error;
  }
  return { is: 'parsed', canonical };
}

/** The model of a case, or what the language has against it. */
export function modelOf(one: Case, texts: Texts): Model | { issues: readonly ComposeIssue[] } {
  const input = inputOf(one, texts);
  if ('fault' in input) return { issues: [input.fault] };
  try {
    const model = loadModel(input);
    return model.context.issues.length > 0 ? { issues: model.context.issues } : model;
  } catch (error) {
    if (error instanceof ComposeErrors) return { issues: error.issues };
    throw error;
  }
}

/** As `ctl` reads a project. */
function inputOf(one: Case, texts: Texts): ModelInput | { fault: ComposeIssue } {
  const directory = dirname(one.files[0] ?? ROOT);
  const shown = (path: string): string => relative(ROOT, path) || path;
  const read = (path: string): { text: string } | undefined => {
    const text = texts.get(path);
    return text === undefined ? undefined : { text };
  };
  const files = one.files.map((path) => ({ path, shown: shown(path), text: texts.get(path) ?? '' }));
  const env: Record<string, string> = { HOME: '/home/user' };
  try {
    if (one.envFile !== undefined) Object.assign(env, parseDotEnv(texts.get(one.envFile) ?? '', {}));
  } catch (error) {
    if (!(error instanceof DotEnvFault)) throw error;
    return { fault: { file: shown(one.envFile ?? ''), line: error.line, column: 1, path: '', message: error.message } };
  }
  const profiles = (env['COMPOSE_PROFILES'] ?? '').split(',').filter((profile) => profile !== '');
  return { files, projectDirectory: directory, projectName: env['COMPOSE_PROJECT_NAME'], env, profiles, read, shown };
}

function hasPlace(issue: ComposeIssue, texts: Texts): boolean {
  const lines = texts.get(`${ROOT}/${issue.file}`)?.split(/\r\n|\r|\n/);
  return lines !== undefined && issue.line >= 1 && issue.line <= lines.length && issue.column >= 1 && issue.message !== '';
}

/** Reads what was printed: it must be the same model. @returns what is wrong */
export function faultOfRoundTrip(one: Case, texts: Texts, canonical: string): string | undefined {
  // No profile that is active has a service: such a model is printed, and is nothing to run.
  if (/^services: \{\}$/m.test(canonical)) return undefined;
  const path = one.files[0] ?? ROOT;
  const again = judge({ name: one.name, files: [path], envFile: one.envFile }, withText(texts, path, canonical));
  if (again.is === 'wrong') return `printed and read again: ${again.why}`;
  if (again.canonical === canonical) return undefined;
  if (again.canonical !== undefined) return `printed and read again it is another model:\n${again.canonical}`;
  return `what was printed is refused: ${again.is === 'refused' ? again.issues.map(formatIssue).join('\n') : ''}`;
}

/** The verdict against what the case expects. @returns what is wrong */
export function faultOf(one: Case, verdict: Verdict): string | undefined {
  if (verdict.is === 'wrong') return verdict.why;
  if (one.refused) return faultOfRefusal(one, one.refused, verdict);
  if (one.expected === undefined) return undefined;
  if (verdict.canonical === undefined) return `refused: ${verdict.is === 'refused' ? verdict.issues.map(formatIssue).join('\n') : ''}`;
  // The order of keys is Compose's own: it counts as well.
  const same = JSON.stringify(parseYaml(verdict.canonical)) === JSON.stringify(parseYaml(one.expected));
  return same ? undefined : `its canonical output is another than expected:\n${verdict.canonical}`;
}

function faultOfRefusal(one: Case, expected: readonly string[], verdict: Verdict): string | undefined {
  if (verdict.is !== 'refused') return 'it is not refused';
  const told = verdict.issues.map(
    (issue) => `${issue.file === one.name ? '' : `${issue.file}:`}${formatIssue(issue).slice(issue.file.length + 1)}`,
  );
  const missing = expected.filter((line) => !told.some((text) => fits(text, line)));
  if (missing.length > 0) return `it is not told: ${missing.join('\n')}\ntold is:\n${told.join('\n')}`;
  const more = told.filter((text) => !expected.some((line) => fits(text, line)));
  return more.length > 0 ? `told besides: ${more.join('\n')}` : undefined;
}

/** `line:column: path: …` to the letter, the message in part. */
function fits(text: string, line: string): boolean {
  const [, place = '', part = ''] = /^(.*?:\d+: (?:\S+: )?)(.*)$/.exec(line) ?? [];
  return text.startsWith(place) && text.includes(part);
}
