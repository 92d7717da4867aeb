import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Those that work and those that wait by turns. Once a checkout has run its tests, vitest knows by itself how long each file takes.
const LONG = [
  'package/installed',
  'relay/budget',
  'demo/payments',
  'demo/demo',
  'embedded/embedded-postgres',
  'docs/code-blocks',
]

/** Begins with the files that take longest, so that none of them is alone at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.toSorted((one, other) => placeOf(one) - placeOf(other))
  }
}

function placeOf({ moduleId }: TestSpecification): number {
  const place = LONG.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
  return place === -1 ? LONG.length : place
}
