//! Laws of students whose weights are computed from a teacher's.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use kd_core::model::Mode;
use kd_core::params::{Params, build_frozen};
use kd_core::{Result, Seed};
use kd_translation::generated_student::classes::Block;
use kd_translation::generated_student::{Form, GeneratedStudent, GeneratorSpec, Start};
use kd_translation::transformer::{Embeddings, Norm, Transformer, TransformerSpec};

use super::{by_formula, close, drawn, formula, spec, stack, words};

pub const BLOCKS: [Block; 2] = [Block::Attention, Block::FeedForward];

/// A generator of everything.
pub fn whole(form: Form, start: Start) -> GeneratorSpec {
    GeneratorSpec { form, start, encoder: BLOCKS.into(), decoder: BLOCKS.into(), embeddings: true }
}

pub fn teacher(decoder_layers: usize) -> TransformerSpec {
    spec(20, 20, stack(2, 16, 24), stack(decoder_layers, 16, 24))
}

/// A student of a teacher drawn at random, with the parameters of its generator.
pub fn generated(
    student: &TransformerSpec,
    teacher: &TransformerSpec,
    tensors: &BTreeMap<String, Tensor>,
    generator: &GeneratorSpec,
) -> Result<(Params, GeneratedStudent)> {
    let (params, vb) = Params::seeded(Seed(5), &Device::Cpu);
    let made = GeneratedStudent::new(student, teacher, tensors, generator, &vb)?;
    made.student()?;
    Ok((params, made))
}

#[test]
fn a_generator_with_given_parameters_makes_the_same_student_and_one_of_other_sizes_is_refused()
-> Result<()> {
    let device = &Device::Cpu;
    for (student, teacher, generator) in kinds() {
        let (params, _) = drawn(&teacher, 3)?;
        let tensors = params.snapshot()?;
        let (params, made) = generated(&student, &teacher, &tensors, &generator)?;
        perturb(&params)?;
        let frozen = |spec: &TransformerSpec| {
            let parameters = params.snapshot()?;
            GeneratedStudent::frozen(spec, &teacher, &tensors, &generator, parameters, device)
        };
        let (ours, again) = (made.materialise()?, frozen(&student)?.materialise()?);
        assert_eq!(ours.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
        for (name, tensor) in ours {
            assert_eq!(formula::values(&tensor)?, formula::values(&again[&name])?, "{name}");
        }
        // As many hidden units as a description may ask for, and no file has.
        let mut forged = student.clone();
        forged.decoder.feed_forward = 1 << 16;
        let error = frozen(&forged).err().expect("a student of another size");
        assert!(error.is_bad_input() && error.to_string().contains("65536"), "{error}");
    }
    Ok(())
}

/// Moves every parameter, scales and shifts too, away from where it begins.
fn perturb(params: &Params) -> Result<()> {
    let begun = params.snapshot()?;
    by_formula(params, |name, dims| {
        let noise: Vec<f32> = formula::noise(dims.iter().product(), name, 3)
            .into_iter()
            .map(|u| 0.2 * u as f32)
            .collect();
        &begun[name] + Tensor::from_vec(noise, dims, &Device::Cpu)?
    })
}

fn logits(network: &Transformer) -> Result<Tensor> {
    let ids = |purpose| Tensor::from_vec(words(10, 20, purpose), (2, 5), &Device::Cpu);
    let memory = network.encode(&ids("source")?, &[5, 3], Mode::Evaluate)?;
    network.logits(&network.decode(&memory, &ids("target")?, Mode::Evaluate)?)
}

/// Teachers and students of every kind that there is a formula for.
fn kinds() -> Vec<(TransformerSpec, TransformerSpec, GeneratorSpec)> {
    let mut kinds = Vec::new();
    for form in [Form::ReleasedCode, Form::Paper] {
        let teacher = teacher(5);
        kinds.push((teacher.tiny(), teacher.clone(), whole(form, Start::Random)));
        kinds.push((teacher.small(), teacher.clone(), whole(form, Start::Identity)));
        for embeddings in [Embeddings::TiedOutput, Embeddings::Shared] {
            let teacher = TransformerSpec { norm: Norm::Pre, embeddings, ..teacher.clone() };
            kinds.push((teacher.small(), teacher, whole(form, Start::Random)));
        }
        let teacher = TransformerSpec { embeddings: Embeddings::TiedOutput, ..teacher };
        kinds.push((teacher.tiny(), teacher.clone(), whole(form, Start::Random)));
        kinds.push((
            teacher.tiny(),
            teacher,
            GeneratorSpec { embeddings: false, decoder: vec![], ..whole(form, Start::Random) },
        ));
    }
    kinds
}

#[test]
fn the_materialised_student_computes_what_the_generated_one_computes() -> Result<()> {
    for (student, teacher, generator) in kinds() {
        let (params, made) =
            generated(&student, &teacher, &drawn(&teacher, 2)?.0.snapshot()?, &generator)?;
        perturb(&params)?;
        let ordinary =
            build_frozen(made.materialise()?, &Device::Cpu, |vb| Transformer::new(&student, vb))?;
        let (ours, theirs) = (logits(&made.student()?)?, logits(&ordinary)?);
        close(&theirs, &ours, 1e-5, &format!("{student:?}, {generator:?}"))?;
        assert!(ours.track_op() && !theirs.track_op(), "only the generated student has a graph");
    }
    Ok(())
}

#[test]
fn a_teachers_tensors_get_no_gradient_even_where_they_are_variables() -> Result<()> {
    for (student, teacher, generator) in kinds() {
        let (teacher_params, _) = drawn(&teacher, 2)?;
        let tensors = teacher_params
            .named()
            .into_iter()
            .map(|(name, var)| (name, var.as_tensor().clone()))
            .collect();
        let (params, made) = generated(&student, &teacher, &tensors, &generator)?;
        let gradients = kd_kernels::backward(&logits(&made.student()?)?.sqr()?.sum_all()?)?;
        for (name, var) in teacher_params.named() {
            assert!(
                gradients.get(var.as_tensor()).is_none(),
                "{student:?}, {generator:?}: the teacher's {name} has a gradient"
            );
        }
        for (name, var) in params.named() {
            assert!(
                gradients.get(var.as_tensor()).is_some(),
                "{student:?}, {generator:?}: {name} has no gradient"
            );
        }
    }
    Ok(())
}

#[test]
fn shift_alone_and_scale_alone_can_make_any_student() -> Result<()> {
    for form in [Form::ReleasedCode, Form::Paper] {
        for student in [teacher(4).tiny(), teacher(4).small()] {
            let (params, made) = generated(
                &student,
                &teacher(4),
                &drawn(&teacher(4), 2)?.0.snapshot()?,
                &whole(form, Start::Random),
            )?;
            let wanted = drawn(&student, 77)?.0.snapshot()?;
            // With scale 1 and shift 0, as they begin, a weight is the tanh of the map.
            let activated = made.materialise()?;
            let transformed = |name: &str| !name.ends_with("output_projection.weight");
            let (mut values, zero) = (params.snapshot()?, |t: &Tensor| t.zeros_like());
            for (i, (name, weight)) in
                wanted.iter().filter(|(name, _)| transformed(name)).enumerate()
            {
                // A bias of 0 is 0 times whatever the teacher's bias became.
                let by_scale =
                    i % 2 == 0 && formula::values(&activated[name])?.iter().all(|v| v.abs() > 1e-6);
                let (scale, shift) = if by_scale {
                    ((weight / &activated[name])?, zero(weight)?)
                } else {
                    (zero(weight)?, weight.clone())
                };
                values.insert(format!("generator.{name}.scale"), scale);
                values.insert(format!("generator.{name}.shift"), shift);
            }
            params.set(&values)?;
            for (name, weight) in made.materialise()?.iter().filter(|(name, _)| transformed(name)) {
                close(weight, &wanted[name], 1e-5, &format!("{form:?}, {name}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn teacher_layers_beyond_the_last_whole_subset_are_left_out() -> Result<()> {
    let (teacher, student) = (teacher(5), teacher(5).small());
    let tensors = drawn(&teacher, 2)?.0.snapshot()?;
    let made = |changed: usize| -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = tensors.clone();
        for (name, tensor) in &mut tensors {
            if name.starts_with(&format!("decoder.layers.{changed}.")) {
                *tensor = (&*tensor + 1.)?;
            }
        }
        generated(&student, &teacher, &tensors, &whole(Form::ReleasedCode, Start::Random))?
            .1
            .materialise()
    };
    // A layer that does not exist: nothing is changed.
    let before = made(9)?;
    for (changed, reached) in [(0, Some(0)), (1, Some(0)), (2, Some(1)), (3, Some(1)), (4, None)] {
        let after = made(changed)?;
        for (name, weight) in &before {
            let same = formula::values(weight)? == formula::values(&after[name])?;
            let expected = reached
                .is_none_or(|layer: usize| !name.starts_with(&format!("decoder.layers.{layer}.")));
            assert_eq!(same, expected, "teacher layer {changed}, {name}");
        }
    }
    Ok(())
}

#[test]
fn a_student_deeper_than_its_teacher_is_refused() -> Result<()> {
    let (teacher, student) = (teacher(1), teacher(2));
    let tensors = drawn(&teacher, 2)?.0.snapshot()?;
    let Err(e) = generated(&student, &teacher, &tensors, &whole(Form::Paper, Start::Random)) else {
        panic!("it was accepted")
    };
    assert!(
        e.is_bad_input() && e.to_string().contains("at most the teacher's 1 layers, got 2"),
        "{e}"
    );
    Ok(())
}

#[test]
fn a_teacher_that_lacks_a_tensor_is_refused_with_its_name() -> Result<()> {
    let teacher = teacher(2);
    let mut tensors = drawn(&teacher, 2)?.0.snapshot()?;
    tensors.remove("decoder.layers.1.fc1.bias");
    let Err(e) = generated(&teacher.tiny(), &teacher, &tensors, &whole(Form::Paper, Start::Random))
    else {
        panic!("it was accepted")
    };
    assert!(e.is_bad_input() && e.to_string().contains("'decoder.layers.1.fc1.bias'"), "{e}");
    Ok(())
}

#[test]
fn a_block_that_is_not_transferred_begins_as_an_ordinary_students_and_trains_as_it_is() -> Result<()>
{
    let (teacher, student) = (teacher(4), teacher(4).tiny());
    let generator = GeneratorSpec {
        encoder: vec![Block::Attention],
        decoder: vec![Block::FeedForward],
        ..whole(Form::Paper, Start::Random)
    };
    let (params, made) =
        generated(&student, &teacher, &drawn(&teacher, 2)?.0.snapshot()?, &generator)?;
    let ordinary = drawn(&student, 5)?.0.snapshot()?;
    let plain: Vec<(String, Var)> =
        params.named().into_iter().filter(|(name, _)| !name.starts_with("generator.")).collect();
    let expected = |name: &String| match name.split_once('.') {
        Some(("encoder", rest)) => rest.starts_with("layers") && !rest.contains("attn"),
        _ => name.contains("attn"),
    };
    let names: Vec<&String> = ordinary.keys().filter(|name| expected(name)).collect();
    assert_eq!(plain.iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
    let gradients = kd_kernels::backward(&logits(&made.student()?)?.sqr()?.sum_all()?)?;
    for (name, var) in &plain {
        close(var.as_tensor(), &ordinary[name], 0., name)?;
        assert!(gradients.get(var.as_tensor()).is_some(), "{name} has no gradient");
        assert!(
            !params
                .named()
                .iter()
                .any(|(other, _)| other.starts_with(&format!("generator.{name}."))),
            "{name} has a formula too"
        );
        var.set(&(var.as_tensor() + 0.5)?)?;
    }
    let after = made.materialise()?;
    plain.iter().try_for_each(|(name, var)| close(&after[name], var.as_tensor(), 0., name))
}
