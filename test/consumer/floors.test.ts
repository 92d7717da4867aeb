import { expect, test } from 'vitest'
import { Floors } from '../../src/consumer/floors.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'

const row = (priority: number, position: string) => ({ priority, position })

test('a floor lies above the last claimed position of its priority, and never falls by claiming', () => {
  const floors = new Floors()
  expect(floors.next()).toEqual({ positions: BOTTOM, below: false, falls: 0 })
  floors.saw(floors.next(), [row(9, '5'), row(9, '12'), row(9, '7'), row(2, '9223372036854775806')], true)
  expect(floors.positions[9]).toBe('13')
  expect(floors.positions[2]).toBe('9223372036854775807')
  floors.saw(floors.next(), [row(9, '8')], true)
  expect(floors.positions[9]).toBe('13')
})

test('where rows may have come back one claim begins, and the others go on', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(8, '30'), row(9, '12')], true)
  floors.fall(SKY.with(9, '7').with(8, '99'))
  floors.cameBack([row(9, '5'), row(9, '4'), row(9, '6')])
  expect(floors.next()).toMatchObject({ positions: BOTTOM.with(8, '31').with(9, '4'), below: true })
  expect(floors.next()).toMatchObject({ positions: BOTTOM.with(8, '31').with(9, '13'), below: false })
})

test('where nothing is below the floors no claim begins below them', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(9, '12')], true)
  floors.fall(SKY)
  expect(floors.next()).toMatchObject({ positions: BOTTOM.with(9, '13'), below: false })
  floors.fall(SKY.with(9, '20'))
  expect(floors.next()).toMatchObject({ positions: BOTTOM.with(9, '13'), below: false })
})

test('a claim below the floors that finds as much as it asked for may have left something: all go on behind it', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(7, '40'), row(8, '12'), row(9, '70')], true)
  floors.fall(BOTTOM)
  const [below, other] = [floors.next(), floors.next()]
  floors.saw(below, [row(7, '41'), row(8, '3')], true)
  expect([floors.positions[7], floors.positions[8], floors.positions[9]]).toEqual(['42', '4', '71'])
  floors.saw(other, [row(8, '13')], true)
  expect(floors.positions[8]).toBe('4')
})

test('one that finds less has seen all there is, and takes nothing back', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(9, '12')], true)
  floors.fall(BOTTOM)
  floors.saw(floors.next(), [row(9, '3')], false)
  expect(floors.positions[9]).toBe('13')
})

test('a claim that was sent before rows came back raises nothing', () => {
  const floors = new Floors()
  const before = floors.next()
  floors.fall(BOTTOM)
  floors.saw(before, [row(9, '12')], true)
  expect(floors.positions).toEqual(BOTTOM)
})

test('floors rise to the ground, and never fall to it', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(9, '12')], true)
  floors.rise(BOTTOM.with(8, '7').with(9, '7'))
  expect(floors.positions).toEqual(BOTTOM.with(8, '7').with(9, '13'))
})
