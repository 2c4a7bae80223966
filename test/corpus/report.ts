/** A folder, judged and told: how many files were parsed, refused with which reasons, and what is wrong. */
import { formatIssue } from '#compose/issue.js';
import { readFolder, type Case } from './folder.js';
import { faultOf, faultOfRoundTrip, judge, type Verdict } from './judge.js';

export interface Result {
  one: Case;
  verdict: Verdict;
  /** What must not be; undefined where all is well. */
  fault?: string;
}

export function judgeFolder(directory: string): Result[] {
  const { cases, texts } = readFolder(directory);
  return cases.map((one) => {
    const verdict = judge(one, texts);
    const canonical = verdict.is === 'wrong' ? undefined : verdict.canonical;
    const fault = faultOf(one, verdict) ?? (canonical === undefined ? undefined : faultOfRoundTrip(one, texts, canonical));
    return { one, verdict, fault };
  });
}

/** Lines for a person: each file that is not simply parsed, then the counts. */
export function reportOf(results: readonly Result[]): string {
  const lines = results.flatMap(({ one, verdict, fault }) => {
    if (fault !== undefined) return [`WRONG    ${one.name}\n         ${fault.replaceAll('\n', '\n         ')}`];
    if (verdict.is !== 'refused') return [];
    return [
      `refused  ${one.name} (by ${verdict.by === 'weft' ? 'Weft' : 'the language'})`,
      ...verdict.issues.map((i) => `         ${formatIssue(i)}`),
    ];
  });
  const wrong = results.filter((r) => r.fault !== undefined).length;
  const fine = results.filter((r) => r.fault === undefined);
  const refusedBy = (by: string): number => fine.filter(({ verdict: v }) => v.is === 'refused' && v.by === by).length;
  const parsed = fine.filter(({ verdict }) => verdict.is === 'parsed').length;
  return [
    ...lines,
    `${results.length} files: ${parsed} parsed, ${refusedBy('language')} refused by the language, ${refusedBy('weft')} refused by Weft, ${wrong} wrong`,
    '',
  ].join('\n');
}
