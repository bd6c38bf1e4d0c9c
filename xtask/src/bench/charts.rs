//! Charts of bars beside `plot`: what is asked for, and shares of a whole.

use std::fmt::Write as _;

use super::plot::{COLOURS, WIDTH, page};
use super::profile::{Class, Profile};
use super::targets::Target;

const BAR: f64 = 15.0;
/// Room for a target's words.
const WORDS: f64 = 430.0;
/// Further than this a bar does not go.
const MARGIN_MAX: f64 = 4.0;

/// How far each target is passed: what is asked for is one line for all.
pub(super) fn targets(all: &[Target]) -> String {
    let place = |margin: f64| WORDS + margin.min(MARGIN_MAX) / MARGIN_MAX * (WIDTH - WORDS - 70.0);
    let mut body = String::new();
    let mut y = 44.0;
    for target in all {
        let Some(margin) = target.margin() else {
            continue;
        };
        let colour = if margin < 1.0 { COLOURS[0] } else { COLOURS[2] };
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{}" text-anchor="end" font-size="9">{}</text><rect x="{WORDS}" y="{y}" width="{:.1}" height="{}" fill="{colour}"/><text x="{:.1}" y="{}">{}</text>"#,
            WORDS - 6.0,
            y + BAR - 4.0,
            target.what,
            place(margin) - WORDS,
            BAR - 3.0,
            place(margin) + 5.0,
            y + BAR - 4.0,
            target.told(),
        );
        y += BAR;
    }
    let x = place(1.0);
    let _ = writeln!(
        body,
        r##"<path d="M{x:.1} 36 V{y}" stroke="#212529" stroke-dasharray="4 3"/><text x="{x:.1}" y="32" text-anchor="middle">asked for</text>"##
    );
    let title = format!("Measured against what is asked for; bars end at {MARGIN_MAX} times that");
    page(&title, y + 10.0, &body)
}

/// A bar for each subject, of its classes.
pub(super) fn profile(profile: &Profile) -> String {
    const LEFT: f64 = 160.0;
    const THICK: f64 = 26.0;
    let long = WIDTH - LEFT - 20.0;
    let mut body = String::new();
    let mut y = 40.0;
    for (subject, shares) in &profile.of {
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            y + THICK - 9.0,
            subject.name()
        );
        let mut x = LEFT;
        for (class, share) in &shares.of {
            let width = share * long;
            let _ = writeln!(
                body,
                r#"<rect x="{x:.1}" y="{y}" width="{width:.1}" height="{THICK}" fill="{}"/>"#,
                colour(*class)
            );
            if *share > 0.06 {
                let _ = writeln!(
                    body,
                    r#"<text x="{:.1}" y="{}" text-anchor="middle" fill="white">{:.0} %</text>"#,
                    x + width / 2.0,
                    y + THICK - 9.0,
                    share * 100.0
                );
            }
            x += width;
        }
        y += THICK + 8.0;
    }
    y += 6.0;
    for (index, class) in (0_u32..).zip(Class::ALL) {
        let x = 60.0 + f64::from(index % 3) * 235.0;
        let row = y + f64::from(index / 3) * 18.0;
        let _ = writeln!(
            body,
            r#"<rect x="{x}" y="{row}" width="11" height="11" fill="{}"/><text x="{}" y="{}">{}</text>"#,
            colour(class),
            x + 16.0,
            row + 10.0,
            class.name()
        );
    }
    page(
        "Where the processor's time goes: Emberkeep, ext4 volume",
        y + 64.0,
        &body,
    )
}

fn colour(class: Class) -> &'static str {
    match class {
        Class::Compressor => COLOURS[0],
        Class::Sha256 => COLOURS[1],
        Class::Md5 => "#4dabf7",
        Class::KernelCopy => COLOURS[2],
        Class::PageFaults => "#5c940d",
        Class::FileSystem => "#087f5b",
        Class::Kernel => "#495057",
        Class::UserCopy => "#ae3ec9",
        Class::Other => COLOURS[3],
    }
}
