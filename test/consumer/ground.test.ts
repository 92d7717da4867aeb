import { expect, test } from 'vitest'
import { Ground } from '../../src/consumer/ground.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'

/** Looks at a ground at so many seconds, each of which takes no time. */
function groundOf() {
  const ground = new Ground()
  const at = (seconds: number, lowest: readonly string[], top: string) => {
    ground.saw({ lowest, top }, { askedAt: seconds * 1_000, now: seconds * 1_000 })
    return ground.positions
  }
  return { ground, at }
}

test('it begins at the bottom, and rises to what was given out a quarter of a minute before', () => {
  const { ground, at } = groundOf()
  expect(ground.positions).toEqual(BOTTOM)
  expect(at(0, SKY, '100')).toEqual(BOTTOM)
  expect(at(14, SKY, '9000')).toEqual(BOTTOM)
  expect(at(15, SKY, '10000')).toEqual(SKY.map(() => '100'))
  expect(at(16, SKY, '11000')).toEqual(SKY.map(() => '100'))
  expect(at(29, SKY, '12000')).toEqual(SKY.map(() => '9000'))
  expect(at(3_600, SKY, '13000')).toEqual(SKY.map(() => '12000'))
})

test('it stays at the lowest row that is there, however long that takes, and comes down to one that came late', () => {
  const { at } = groundOf()
  at(0, SKY, '100')
  expect(at(20, SKY.with(9, '42'), '200')).toEqual(SKY.map(() => '100').with(9, '42'))
  expect(at(600, SKY.with(9, '42'), '300')).toEqual(SKY.map(() => '200').with(9, '42'))
  expect(at(601, SKY, '300')).toEqual(SKY.map(() => '200'))
  expect(at(602, SKY.with(3, '7'), '300')).toEqual(SKY.map(() => '200').with(3, '7'))
})

test('a look that took long knows nothing of what was given out in the quarter of a minute before it began', () => {
  const ground = new Ground()
  ground.saw({ lowest: SKY, top: '100' }, { askedAt: 0, now: 10_000 })
  ground.saw({ lowest: SKY, top: '200' }, { askedAt: 24_000, now: 60_000 })
  expect(ground.positions).toEqual(BOTTOM)
  ground.saw({ lowest: SKY, top: '300' }, { askedAt: 60_000, now: 60_000 })
  expect(ground.positions).toEqual(SKY.map(() => '100'))
})

test('where positions are given out anew, in a database that was restored, it is at the bottom again', () => {
  const { at } = groundOf()
  at(0, SKY, '100')
  expect(at(20, SKY, '200')).toEqual(SKY.map(() => '100'))
  expect(at(21, SKY, '150')).toEqual(BOTTOM)
  expect(at(30, SKY, '160')).toEqual(BOTTOM)
  expect(at(36, SKY, '170')).toEqual(SKY.map(() => '150'))
})
