//! The numbers of the steps of one command, which may run several plans, one behind the other: each step has its own, and
//! how many there are in all is said only as long as it is known.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    seen: usize,
    total: usize,
}

impl Numbering {
    /// What stands before the next step, such as `[2/6]`, or `[2]`. `total`: how many steps its plan has.
    pub(super) fn next(&mut self, total: usize) -> String {
        self.seen += 1;
        if self.seen == 1 {
            self.total = total;
        }
        match (self.seen, self.total) {
            // A plan of one step is nearly always followed by another.
            (seen, total) if seen <= total && total > 1 => format!("[{seen}/{total}]"),
            (seen, _) => format!("[{seen}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice_in_a_command() {
        let mut one_plan = Numbering::default();
        assert_eq!([3, 3, 3].map(|total| one_plan.next(total)), ["[1/3]", "[2/3]", "[3/3]"]);
        let mut backup_and_copy = Numbering::default();
        assert_eq!([2, 2, 1].map(|total| backup_and_copy.next(total)), ["[1/2]", "[2/2]", "[3]"]);
        let mut restore = Numbering::default();
        assert_eq!([1, 3, 3, 3, 4].map(|total| restore.next(total)), ["[1]", "[2]", "[3]", "[4]", "[5]"]);
    }
}
