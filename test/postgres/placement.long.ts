import { expect, test } from 'vitest'
import { MANNERS, PLACEMENTS, play } from './placements.ts'
import { farCursor } from './steps.ts'

test.each(MANNERS)(
  'a message is routed once, wherever its transaction is placed in a cycle, alone and %s',
  async (manner) => {
    for (const chunk of [1_000, 1, 2]) {
      expect(await play(PLACEMENTS, [manner], { chunk })).toEqual({ lost: [], repeated: [], phantoms: [] })
    }
    expect(await play(PLACEMENTS, [manner], { chunk: 1, cursor: farCursor })).toEqual({
      lost: [],
      repeated: [],
      phantoms: [],
    })
  },
)
