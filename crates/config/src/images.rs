//! OpenAI's images API: which workflows stand behind its models, and what its URLs begin with.

use crate::parse::Reader;

/// OpenAI's images API.
#[derive(Debug, Clone, Default)]
pub struct ImageSettings {
    /// What models are.
    pub models: ImageModels,
    /// What URLs in answers begin with, without a slash at the end; `None`: whatever the request was sent to.
    pub public_url: Option<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>) -> ImageSettings {
    let allowed = "model=workflow, or model=workflow/edit-workflow/inpaint-workflow, comma-separated; each model once";
    let models = reader.parse("OPENAI_MODELS", allowed, ImageModels::parse).unwrap_or_default();
    let public_url = match reader.is_set("PUBLIC_URL") {
        true => {
            reader.parse("PUBLIC_URL", "an http:// or https:// URL with no user, no query and no fragment", public_url)
        }
        false => None,
    };
    ImageSettings { models, public_url }
}

fn public_url(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let fine = matches!(url.scheme(), "http" | "https") && url.has_host() && plain;
    fine.then(|| text.trim_end_matches('/').to_owned())
}

/// The workflows of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageModel {
    /// Makes a picture of a prompt.
    pub generate: String,
    /// Makes a picture of a picture and a prompt.
    pub edit: Option<String>,
    /// Paints the masked part of a picture anew.
    pub inpaint: Option<String>,
}

/// Models by their names. One that is not among them is the workflow of that id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageModels(Vec<(String, ImageModel)>);

impl ImageModels {
    /// Reads `model=generate[/edit[/inpaint]]`, comma-separated; `None` where it is not written so.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let models: Vec<_> = entries.map(entry).collect::<Option<_>>()?;
        let twice =
            models.iter().enumerate().any(|(at, (name, _))| models.iter().skip(at + 1).any(|(other, _)| other == name));
        (!twice).then_some(Self(models))
    }

    /// The model `name`; without a name the first.
    pub fn find(&self, name: Option<&str>) -> Option<ImageModel> {
        let Some(name) = name else { return self.0.first().map(|(_, model)| model.clone()) };
        if let Some((_, model)) = self.0.iter().find(|(known, _)| known == name) {
            return Some(model.clone());
        }
        let own = || name.to_owned();
        is_workflow(name).then(|| ImageModel { generate: own(), edit: Some(own()), inpaint: Some(own()) })
    }
}

fn entry(text: &str) -> Option<(String, ImageModel)> {
    let (name, workflows) = text.split_once('=')?;
    let (name, mut workflows) = (name.trim(), workflows.split('/').map(str::trim));
    let named = (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    let model = ImageModel {
        generate: workflows.next()?.to_owned(),
        edit: workflows.next().map(str::to_owned),
        inpaint: workflows.next().map(str::to_owned),
    };
    let known = [Some(&model.generate), model.edit.as_ref(), model.inpaint.as_ref()];
    let fine = named && workflows.next().is_none() && known.into_iter().flatten().all(|id| is_workflow(id));
    fine.then(|| (name.to_owned(), model))
}

fn is_workflow(id: &str) -> bool {
    gateway_core::ids::is_workflow_id(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(generate: &str, edit: Option<&str>, inpaint: Option<&str>) -> ImageModel {
        ImageModel { generate: generate.to_owned(), edit: edit.map(str::to_owned), inpaint: inpaint.map(str::to_owned) }
    }

    #[test]
    fn models_are_found_by_name_or_are_workflows() {
        let models = ImageModels::parse("gpt-image-1=sdxl/img2img/inpaint, dall-e-3 = icon_512").unwrap();
        let first = model("sdxl", Some("img2img"), Some("inpaint"));
        assert_eq!(models.find(Some("gpt-image-1")), Some(first.clone()));
        assert_eq!(models.find(None), Some(first));
        assert_eq!(models.find(Some("dall-e-3")), Some(model("icon_512", None, None)));
        assert_eq!(models.find(Some("icon_512")), Some(model("icon_512", Some("icon_512"), Some("icon_512"))));
        assert_eq!(models.find(Some("No Workflow")), None);
        assert_eq!(ImageModels::parse("").unwrap().find(None), None);
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        for wrong in ["gpt-image-1", "=sdxl", "a=", "a=b/", "a=b/c/d/e", "a=UPPER", "a=b,a=c", "a b=c"] {
            assert_eq!(ImageModels::parse(wrong), None, "{wrong}");
        }
    }
}
